/* ids.c: see ids.h. Numbers are read here, because strtod's decimal point depends on the caller's locale. */
#include "generate/ids.h"

enum { MAX_ID = 1 << 24, MAX_DIGITS = 15, MAX_POWER = 22 }; /* so many digits, and 10^22, are exact in a double */

static void skip_spaces(b2_ids *w) {
    while (*w->at == ' ' || *w->at == '\t' || *w->at == '\n' || *w->at == '\r') w->at++;
}

static bool take(b2_ids *w, char c) {
    skip_spaces(w);
    const bool is_there = *w->at == c;
    w->at += is_there;
    return is_there;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* e-05: of JSON numbers; without it 0. */
static int take_exponent(b2_ids *w) {
    int exponent = 0;
    if (*w->at != 'e' && *w->at != 'E') return 0;
    w->at++;
    const bool is_negative = *w->at == '-';
    if (is_negative || *w->at == '+') w->at++;
    if (!is_digit(*w->at)) return 2 * MAX_POWER + MAX_DIGITS; /* none */
    for (; is_digit(*w->at); w->at++)
        if (exponent < 1000) exponent = exponent * 10 + (*w->at - '0');
    return is_negative ? -exponent : exponent;
}

/* Digits of a fraction that a double cannot tell apart are passed over. */
static bool take_number(b2_ids *w, double *number) {
    const bool is_negative = take(w, '-');
    double digits = 0, unit = 1;
    int n = 0, power = 0;
    skip_spaces(w);
    for (; is_digit(*w->at); w->at++, n++) digits = digits * 10 + (*w->at - '0');
    if (n == 0 || n > MAX_DIGITS) return false;
    if (*w->at == '.')
        for (w->at++; is_digit(*w->at); w->at++) {
            if (n++ >= MAX_DIGITS) continue;
            digits = digits * 10 + (*w->at - '0');
            power--;
        }
    power += take_exponent(w);
    if (power > MAX_POWER || power < -MAX_POWER) return false;
    for (int i = 0; i < (power < 0 ? -power : power); i++) unit *= 10;
    digits = power < 0 ? digits / unit : digits * unit;
    *number = is_negative ? -digits : digits;
    return true;
}

static bool take_id(b2_ids *w) {
    double number;
    if (w->n == B2_MAX_LIST_IDS || !take_number(w, &number) || number < 0 || number > MAX_ID) return false;
    w->ids[w->n++] = (int32_t)number;
    return (double)w->ids[w->n - 1] == number;
}

/* [12,34] */
static bool take_list(b2_ids *w) {
    if (!take(w, '[')) return false;
    do {
        if (!take_id(w)) return false;
    } while (take(w, ','));
    return take(w, ']');
}

static bool take_item(b2_ids *w) {
    w->n = 0;
    switch (w->kind) {
    case B2_IDS: return take_id(w);
    case B2_IDS_LISTS: return take_list(w);
    case B2_IDS_BIASED:
        return take(w, '[') && take_list(w) && take(w, ',') && take_number(w, &w->number) && take(w, ']');
    case B2_IDS_DECAY: return take_id(w) && take(w, ',') && take_number(w, &w->number);
    }
    return false;
}

b2_ids b2_ids_walk(const char *text, b2_ids_kind kind) { return (b2_ids){.kind = kind, .at = text}; }

bool b2_ids_next(b2_ids *w) {
    if (w->at == NULL || w->is_wrong) return false;
    if (w->has_begun && take(w, ']')) {
        skip_spaces(w);
        w->is_wrong = *w->at != '\0';
        w->at = NULL;
        return false;
    }
    w->is_wrong = !take(w, w->has_begun ? ',' : '[') || !take_item(w);
    w->has_begun = true;
    return !w->is_wrong;
}
