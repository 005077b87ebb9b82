/* pretokenize.h: cuts text into the words that BPE merges within, by the classes of Unicode. */
#ifndef B2_PRETOKENIZE_H
#define B2_PRETOKENIZE_H

#include <stddef.h>

/* Length in bytes of the first word of text[len], len > 0: the first of these alternatives that matches, as long as it
 * can be:
 *     's 't 're 've 'm 'll 'd           (these letters, lower case)
 *     an optional space, letters        (Unicode category L)
 *     an optional space, numbers        (N)
 *     an optional space, other characters that are not white space
 *     white space; its last character is left to the word that follows, if one does
 * The optional space is U+0020; marks (M) are other characters; white space is Unicode's property White_Space.
 * A byte that belongs to no UTF-8 character counts as one other character. */
size_t b2_pretokenize_next(const char *text, size_t len);

#endif
