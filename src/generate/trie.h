/* trie.h: answers from a list: at each step only ids may follow that lead to one of the texts. The texts' ids, sorted,
 * are the trie: those that begin alike are neighbours, so that a place in it is a range of them, and nothing is
 * built. */
#ifndef B2_TRIE_H
#define B2_TRIE_H

#include <stddef.h>
#include <stdint.h>

typedef struct b2_trie_text {
    const int32_t *ids; /* [n], the caller's; the stop id last and only there, so that no text begins another */
    size_t n;
} b2_trie_text;

typedef struct b2_trie {
    b2_trie_text *texts; /* [n] sorted by their ids, each once */
    size_t n;
} b2_trie;

/* The texts in any order become a trie in place; n may become less. */
void b2_trie_sort(b2_trie *trie);

/* scores[n_vocab] of the id after ids[n]: -infinity where it leads to no text. Ids of texts are below n_vocab. */
void b2_trie_process(const b2_trie *trie, const int32_t *ids, size_t n, float *scores, size_t n_vocab);

#endif
