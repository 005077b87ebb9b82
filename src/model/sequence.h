/* sequence.h: what a language model reads and where it stands. */
#ifndef B2_SEQUENCE_H
#define B2_SEQUENCE_H

#include <stddef.h>
#include <stdint.h>

/* One sequence in flight: its slot in the cache and how many positions it holds there. */
typedef struct b2_sequence {
    const float *soft_tokens; /* [K][D] of its image, in homes[B2_HOME_CPU].soft_tokens */
    const int32_t *prompt;    /* ids, the leading </s> included */
    size_t n_prompt;
    size_t slot, n_past;
    /* [capacity of the cache] the slot that holds each position: sequences share a beginning. The caller's room,
     * written by prefill and step; NULL: all in its own slot, and nothing is shared with it. */
    uint32_t *sources;
} b2_sequence;

#endif
