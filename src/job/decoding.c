/* decoding.c: decoding.def as a table, so that one loop writes and reads all of it. */
#include "job/decoding.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const b2_decoding_row *b2_decoding_rows(size_t *n) {
    static const b2_decoding_row rows[] = {
#define B2_DECODING(type, member, letter, flag, value, low, high, fallback, key, help)                                 \
    {B2_DECODING_##type, offsetof(blip2_decoding, member), low, high, fallback, key, flag, help},
#include "decoding.def"
    };
    *n = sizeof rows / sizeof rows[0];
    return rows;
}

static bool is_text(const b2_decoding_row *row) { return row->type == B2_DECODING_TEXT; }

static const char *text_at(const b2_decoding_row *row, const void *values) {
    const char *text;
    memcpy(&text, (const char *)values + row->offset, sizeof text);
    return text;
}

static double number_at(const b2_decoding_row *row, const void *values) {
    const char *member = (const char *)values + row->offset;
    size_t whole = 0;
    double number = 0;
    bool flag = false;
    switch (row->type) {
    case B2_DECODING_SIZE: memcpy(&whole, member, sizeof whole); return (double)whole;
    case B2_DECODING_FLAG: memcpy(&flag, member, sizeof flag); return flag;
    default: memcpy(&number, member, sizeof number); return number;
    }
}

static void store_text(const b2_decoding_row *row, const char *text, void *values) {
    memcpy((char *)values + row->offset, &text, sizeof text);
}

static void store_seed(const b2_decoding_row *row, uint64_t seed, void *values) {
    memcpy((char *)values + row->offset, &seed, sizeof seed);
}

static void store(const b2_decoding_row *row, double number, void *values) {
    const bool is_whole = row->type == B2_DECODING_SIZE; /* others may be negative */
    const size_t whole = is_whole ? (size_t)number : 0;
    const bool flag = number != 0;
    char *member = (char *)values + row->offset;
    switch (row->type) {
    case B2_DECODING_SIZE: memcpy(member, &whole, sizeof whole); return;
    case B2_DECODING_FLAG: memcpy(member, &flag, sizeof flag); return;
    default: memcpy(member, &number, sizeof number); return;
    }
}

blip2_decoding b2_decoding_fallback(void) {
    blip2_decoding d;
    blip2_decoding_default(&d);
    size_t n;
    const b2_decoding_row *rows = b2_decoding_rows(&n);
    for (size_t i = 0; i < n; i++) {
        if (is_text(&rows[i])) store_text(&rows[i], NULL, &d);
        else if (rows[i].type == B2_DECODING_SEED) store_seed(&rows[i], 0, &d);
        else store(&rows[i], rows[i].fallback, &d);
    }
    return d;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static uint64_t seed_at(const b2_decoding_row *row, const void *values) {
    uint64_t seed;
    memcpy(&seed, (const char *)values + row->offset, sizeof seed);
    return seed;
}

static json_t *seed_to_json(const b2_decoding_row *row, const void *values) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, seed_at(row, values));
    return json_string(digits);
}

bool b2_decoding_is_same(const b2_decoding_row *row, const void *a, const void *b) {
    if (row->type == B2_DECODING_SEED) return seed_at(row, a) == seed_at(row, b);
    if (!is_text(row)) return number_at(row, a) == number_at(row, b);
    const char *in_a = text_at(row, a), *in_b = text_at(row, b);
    return in_a == in_b || (in_a != NULL && in_b != NULL && strcmp(in_a, in_b) == 0);
}

bool b2_decoding_differs(const b2_decoding_row *row, const void *values) {
    if (row->type == B2_DECODING_SEED) return seed_at(row, values) != 0;
    return is_text(row) ? text_at(row, values) != NULL : number_at(row, values) != row->fallback;
}

/* The member as JSON; NULL: at its fallback. */
static json_t *to_json(const b2_decoding_row *row, const void *values) {
    if (!b2_decoding_differs(row, values)) return NULL;
    if (row->type == B2_DECODING_SEED) return seed_to_json(row, values);
    if (is_text(row)) return json_string(text_at(row, values));
    const double number = number_at(row, values);
    if (row->type == B2_DECODING_FLAG) return json_true();
    return row->type == B2_DECODING_SIZE ? json_integer((json_int_t)number) : json_real(number);
}

void b2_decoding_to_json(const b2_decoding_row *rows, size_t n, const void *values, json_t *object) {
    for (size_t i = 0; i < n; i++) {
        json_t *value = to_json(&rows[i], values);
        if (value == NULL && i == 0 && rows[0].type == B2_DECODING_SIZE)
            value = json_integer((json_int_t)number_at(&rows[0], values));
        if (value != NULL) json_object_set_new(object, rows[i].key, value);
    }
}

static bool read_seed(const b2_decoding_row *row, const json_t *value, void *values) {
    uint64_t seed = 0;
    if (value != NULL && !(json_is_string(value) && b2_read_u64(json_string_value(value), &seed))) return false;
    store_seed(row, seed, values);
    return true;
}

static bool read_number(const b2_decoding_row *row, const json_t *value, void *values) {
    const bool is_flag = row->type == B2_DECODING_FLAG;
    const bool is_right_type = is_flag                         ? json_is_boolean(value)
                               : row->type == B2_DECODING_SIZE ? json_is_integer(value)
                                                               : json_is_number(value);
    double number = row->fallback;
    if (value != NULL) number = is_flag ? json_is_true(value) : json_number_value(value);
    if (value != NULL && (!is_right_type || !(number >= row->low && number <= row->high))) return false;
    store(row, number, values);
    return true;
}

static bool read_text(const b2_decoding_row *row, const json_t *value, void *values) {
    store_text(row, json_string_value(value), values);
    return value == NULL || json_is_string(value);
}

bool b2_decoding_from_json(const b2_decoding_row *rows, size_t n, const json_t *object, void *values) {
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_object_get(object, rows[i].key);
        const bool is_read = is_text(&rows[i])                  ? read_text(&rows[i], value, values)
                             : rows[i].type == B2_DECODING_SEED ? read_seed(&rows[i], value, values)
                                                                : read_number(&rows[i], value, values);
        if (!is_read) return false;
    }
    return true;
}
