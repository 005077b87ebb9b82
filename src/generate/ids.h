/* ids.h: lists of token ids as text, written as Hugging Face's generation_config.json has them. They are read anew each
 * time they are needed: they are short, and nothing has to be reserved for them.
 *
 *   IDS       [12,34]                   of --suppress-tokens
 *   LISTS     [[12,34],[56]]            of --bad-words-ids
 *   BIASED    [[[12,34],-2.0],[[56],1]] of --sequence-bias
 *   DECAY     [10,1.5]                  of --exponential-decay-length-penalty: a start and a factor */
#ifndef B2_IDS_H
#define B2_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { B2_MAX_LIST_IDS = 32 };

typedef enum b2_ids_kind { B2_IDS, B2_IDS_LISTS, B2_IDS_BIASED, B2_IDS_DECAY } b2_ids_kind;

/* A walk over a text, item by item. */
typedef struct b2_ids {
    b2_ids_kind kind;
    const char *at;
    bool has_begun, is_wrong;
    int32_t ids[B2_MAX_LIST_IDS]; /* the item's; one of them where the item is a number */
    size_t n;
    double number; /* the bias, or the factor */
} b2_ids;

/* A walk over text; NULL: nothing to walk over. */
b2_ids b2_ids_walk(const char *text, b2_ids_kind kind);

/* The next item; false at the end, and with is_wrong where the text is not of its kind. A DECAY is one item: ids[0] and
 * number. */
bool b2_ids_next(b2_ids *ids);

#endif
