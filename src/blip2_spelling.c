/* blip2_spelling.c: see blip2_spelling.h. */
#include "blip2_spelling.h"

#include "base/size.h"
#include "blip2_model.h"
#include "blip2_text.h"

#include <stdlib.h>
#include <string.h>

b2_spelling b2_spelling_after(const char *prompt) {
    return prompt[0] != '\0' && !b2_text_ends_with_space(prompt) ? B2_SPELLING_SPACED : B2_SPELLING_BARE;
}

/* Ids of many texts, one after the other. */
typedef struct id_list {
    int32_t *ids;
    size_t n, capacity;
} id_list;

static bool reserve(id_list *list, size_t n_more) {
    if (list->n + n_more <= list->capacity) return true;
    const size_t capacity = b2_max(2 * list->capacity, list->n + n_more);
    int32_t *more = realloc(list->ids, capacity * sizeof *more);
    if (more == NULL) return false;
    list->ids = more;
    list->capacity = capacity;
    return true;
}

/* Appends the ids of a text and the stop id. */
static blip2_status encode(const blip2_model *model, const char *text, size_t len, id_list *list, blip2_error *err) {
    const size_t bound = b2_tokenizer_encode_bound(model->tokenizer, len) + 2;
    size_t n_ids;
    if (!reserve(list, bound)) return b2_fail(err, BLIP2_MEMORY, "no memory for %zu ids", list->n + bound);
    int32_t *ids = list->ids + list->n;
    B2_TRY(b2_tokenizer_encode(model->tokenizer, text, len, ids, bound, &n_ids, err));
    memmove(ids, ids + 1, (n_ids - 1) * sizeof *ids); /* without the leading </s> */
    ids[n_ids - 1] = (int32_t)model->weights.h.tokenizer.stop_id;
    list->n += n_ids;
    return BLIP2_OK;
}

static blip2_status spell(const blip2_model *model, const char *text, int spelling, id_list *list, blip2_error *err) {
    const bool adds_space = spelling == B2_SPELLING_SPACED && text[0] != '\0' && !b2_text_begins_with_space(text);
    const size_t len = strlen(text) + adds_space;
    char *spelled = malloc(len + 1);
    if (spelled == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a text of %zu bytes", len);
    spelled[0] = ' ';
    memcpy(spelled + adds_space, text, len - adds_space);
    const blip2_status status = encode(model, spelled, len, list, err);
    free(spelled);
    return status;
}

static blip2_status spell_all(const blip2_model *model, const char *const *texts, int spelling, b2_spellings *s,
                              blip2_error *err) {
    id_list list = {0};
    blip2_status status = BLIP2_OK;
    size_t *first = s->first[spelling] = calloc(s->n + 1, sizeof *first);
    if (first == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for %zu texts", s->n);
    for (size_t i = 0; status == BLIP2_OK && i < s->n; i++) {
        status = spell(model, texts[i], spelling, &list, err);
        first[i + 1] = list.n;
        s->max_tokens = b2_max(s->max_tokens, list.n - first[i]);
    }
    s->ids[spelling] = list.ids;
    return status;
}

blip2_status b2_spellings_create(const blip2_model *model, const char *const *texts, size_t n, b2_spellings *s,
                                 blip2_error *err) {
    *s = (b2_spellings){.n = n};
    blip2_status status = BLIP2_OK;
    for (int spelling = 0; status == BLIP2_OK && spelling < B2_N_SPELLINGS; spelling++)
        status = spell_all(model, texts, spelling, s, err);
    if (status != BLIP2_OK) b2_spellings_free(s);
    return status;
}

void b2_spellings_free(b2_spellings *s) {
    for (int spelling = 0; spelling < B2_N_SPELLINGS; spelling++) {
        free(s->ids[spelling]);
        free(s->first[spelling]);
    }
    *s = (b2_spellings){0};
}
