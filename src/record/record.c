/* record.c: see record.h. */
#include "record/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void b2_record_free(b2_record *r) {
    for (size_t i = 0; r->answers != NULL && i < r->n_answers; i++) {
        free(r->answers[i].text);
        free(r->answers[i].tokens);
        free(r->answers[i].logprobs);
        free(r->answers[i].processed);
        free(r->answers[i].alternatives);
        free(r->answers[i].shares);
    }
    free(r->answers);
    free(r->path);
    free(r->sample);
    free(r->error);
    free(r->taken);
    free(r->thumbnail);
    *r = (b2_record){0};
}

/* ---- status ---------------------------------------------------------------------------------------------------- */

static const char *const status_names[B2_N_RECORD_STATUSES] = {"ok", "truncated", "echo", "empty", "skipped", "error"};

const char *b2_record_status_name(b2_record_status status) { return status_names[status]; }

bool b2_record_status_find(const char *name, b2_record_status *status) {
    for (int i = 0; name != NULL && i < B2_N_RECORD_STATUSES; i++) {
        *status = (b2_record_status)i;
        if (strcmp(name, status_names[i]) == 0) return true;
    }
    return false;
}

b2_record_status b2_record_get_status(const b2_record *record) {
    if (record->taken != NULL) return record->taken_status;
    if (record->error != NULL) return B2_RECORD_ERROR;
    if (record->is_skipped) return B2_RECORD_SKIPPED;
    b2_record_status worst = B2_RECORD_OK;
    for (size_t i = 0; i < record->n_answers; i++)
        if (record->answers[i].outcome > worst) worst = record->answers[i].outcome;
    return worst;
}

const char *b2_record_why(const b2_record *record) {
    if (record->error != NULL) return record->error;
    return b2_record_get_status(record) == B2_RECORD_ERROR
               ? "the logits are not finite numbers, or the options leave no token, or a length penalty no beam"
               : "";
}

bool b2_record_has_answers(const b2_record *record) {
    return record->error == NULL && !record->is_skipped && record->taken == NULL;
}

/* ---- columns --------------------------------------------------------------------------------------------------- */

const char *b2_style_column(const b2_style *style, size_t i) {
    const b2_ask *ask = &style->asks[i];
    if (ask->column != NULL) return ask->column;
    size_t n_alike = 0; /* asks of this kind */
    for (size_t k = 0; k < style->n_asks; k++) n_alike += (style->asks[k].question != NULL) == (ask->question != NULL);
    if (n_alike > 1 && ask->question != NULL) return ask->question;
    if (n_alike > 1 && ask->prompt != NULL && ask->prompt[0] != '\0') return ask->prompt;
    return ask->question != NULL ? "answer" : "caption";
}

size_t b2_style_answers(const b2_style *style) { return style->n_asks * style->n_results; }

const char *b2_style_answer_column(const b2_style *style, size_t i, char name[B2_COLUMN_BYTES]) {
    const char *column = b2_style_column(style, i / style->n_results);
    if (style->n_results == 1) return column;
    snprintf(name, B2_COLUMN_BYTES, "%.*s_%zu", B2_COLUMN_BYTES - 32, column, i % style->n_results + 1);
    return name;
}

/* ---- choices ----------------------------------------------------------------------------------------------------- */

bool b2_choice_at(const char *choices, size_t i, b2_text *choice) {
    while (choices != NULL && i > 0) {
        choices = strchr(choices, '|');
        if (choices != NULL) choices++;
        i--;
    }
    if (choices == NULL) return false;
    choices += strspn(choices, " \t");
    *choice = (b2_text){choices, strcspn(choices, "|")};
    while (choice->len > 0 && strchr(" \t", choices[choice->len - 1]) != NULL) choice->len--;
    return true;
}

size_t b2_choices_count(const char *choices) {
    size_t n = choices != NULL;
    for (; choices != NULL && *choices != '\0'; choices++) n += *choices == '|';
    return n;
}
