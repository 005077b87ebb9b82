/* bpe_merge.h: the heart of BPE: in a word of symbols, join the pair that stands first in the list of merges, and
 * again, until no pair of the word is in the list. */
#ifndef B2_BPE_MERGE_H
#define B2_BPE_MERGE_H

#include "tokenizer/pieces.h"

/* left and right, side by side, become result. */
typedef struct b2_merge {
    int32_t left, right, result; /* ids */
} b2_merge;

/* The list, and a hash table from (left, right) to the rank, the place in it. */
typedef struct b2_merge_table {
    b2_merge *merges; /* [n_merges] */
    uint32_t *slots;  /* ranks; B2_NO_RANK: empty */
    size_t mask;      /* number of slots - 1; the number is a power of two, at most half of them used */
} b2_merge_table;

#define B2_NO_RANK UINT32_MAX

/* Errors: FORMAT (a merge that is not two known tokens with a known result, or that comes twice), LIMIT, MEMORY. */
blip2_status b2_merge_table_create(const b2_vocabulary *vocabulary, const b2_pieces *pieces, b2_merge_table *table,
                                   blip2_error *err);
void b2_merge_table_free(b2_merge_table *table);

/* One symbol of a word, in a list that runs through the word. Symbol 0 is always its head. */
typedef struct b2_symbol {
    int32_t id; /* -1: has become part of the symbol before it */
    uint32_t previous, next;
} b2_symbol;

#define B2_NO_SYMBOL UINT32_MAX

/* What merging a word of n bytes works on: the caller's memory. */
typedef struct b2_merge_work {
    b2_symbol *symbols; /* [n] */
    uint64_t *queue;    /* [2 n] */
    size_t n_queued;
    uint64_t n_steps; /* how often an entry moved within the queue, over all words: what the time depends on */
} b2_merge_work;

/* Merges word[len], len > 0, each byte b being the symbol byte_ids[b] at first. The result is the list from
 * work->symbols[0]. Takes O(len log len) steps whatever the word. */
void b2_merge_word(const b2_merge_table *table, const int32_t byte_ids[256], const char *word, size_t len,
                   b2_merge_work *work);

#endif
