/* match.c: word mode cuts the text into words, lays the longest terms over them, and takes back those that describe the
 * background. Substring mode asks strstr. */
#include "cli/match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

typedef struct word {
    char *letters; /* lower case, NUL-terminated; in the lower-case copy */
    size_t start, end; /* bytes of the text */
    char joint;        /* what stands before it: '-' or '/' glued to both words, ' ', or '.' for any other punctuation */
    size_t match;      /* 1 + index of the match that covers it; 0: none */
} word;

typedef struct sentence {
    const b2_words *lists;
    word *words;
    size_t n;
    b2_matches *found;
} sentence;

void b2_matches_free(b2_matches *m) {
    free(m->items);
    *m = (b2_matches){0};
}

static blip2_status add_match(b2_matches *m, b2_match match, blip2_error *err) {
    if (m->n == m->capacity) {
        const size_t capacity = m->capacity > 0 ? 2 * m->capacity : 16;
        b2_match *larger = realloc(m->items, capacity * sizeof *larger);
        if (larger == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the words of a text");
        m->items = larger;
        m->capacity = capacity;
    }
    m->items[m->n++] = match;
    return BLIP2_OK;
}

/* ---- words ----------------------------------------------------------------------------------------------------------- */

static bool is_letter(utf8proc_int32_t c) {
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ND: return true;
    default: return false;
    }
}

/* lower is cut in place; origin tells where its bytes stand in the text. words has room for every byte. */
static size_t split_words(char *lower, const size_t *origin, word *words) {
    size_t n = 0, at = 0;
    char joint = ' ';
    const size_t len = strlen(lower);
    bool inside = false;
    while (at < len) {
        utf8proc_int32_t c = -1;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)lower + at, (utf8proc_ssize_t)(len - at), &c);
        const bool letter = step > 0 && is_letter(c);
        if (step <= 0) step = 1;
        if (letter && !inside) {
            words[n] = (word){.letters = lower + at, .start = origin[at], .joint = joint};
            joint = '\0';
        }
        if (!letter && inside) words[n++].end = origin[at];
        if (!letter) {
            const char this_joint = c == ' ' ? ' ' : c == '-' || c == '/' ? (char)c : '.';
            joint = joint == '\0' ? this_joint : joint == '.' || this_joint == '.' ? '.' : ' ';
            lower[at] = '\0'; /* ends the word before it */
        }
        inside = letter;
        at += (size_t)step;
    }
    if (inside) words[n++].end = origin[len];
    return n;
}

/* ---- inflections ------------------------------------------------------------------------------------------------------- */

static bool ends_as(const char *rest, const char *const *endings) {
    for (; *endings != NULL; endings++)
        if (strcmp(rest, *endings) == 0) return true;
    return false;
}

/* stem, stems, stemmed, stemmish, stemmy; stripe, striped, stripish, stripy; berry, berries. */
static bool is_inflection(const char *stem, const char *word_letters) {
    static const char *const plain[] = {"s", "es", "ed", "ish", "y", NULL}, *const behind_e[] = {"s", "d", NULL};
    static const char *const without_e[] = {"ish", "y", NULL}, *const without_y[] = {"ies", "ied", NULL}, *const doubled[] = {"ed", "ish", "y", NULL};
    const size_t n = strlen(stem);
    if (n < 3) return false;
    const char last = stem[n - 1];
    if (strncmp(stem, word_letters, n) == 0) {
        const char *rest = word_letters + n;
        return ends_as(rest, last == 'e' ? behind_e : plain) || (rest[0] == last && ends_as(rest + 1, doubled));
    }
    if (strncmp(stem, word_letters, n - 1) != 0) return false;
    return (last == 'e' && ends_as(word_letters + n - 1, without_e)) || (last == 'y' && ends_as(word_letters + n - 1, without_y));
}

/* ---- terms -------------------------------------------------------------------------------------------------------------- */

static bool form_fits(const sentence *s, const b2_form *form, size_t at) {
    if (at + form->n_words > s->n) return false;
    for (size_t k = 0; k < form->n_words; k++) {
        const char *have = s->words[at + k].letters;
        const bool is_last = k + 1 == form->n_words;
        if (k > 0 && s->words[at + k].joint == '.') return false;
        if (strcmp(form->words[k], have) != 0 && (!is_last || form->is_exact || !is_inflection(form->words[k], have))) return false;
    }
    return true;
}

static bool follows_own_category(const sentence *s, const b2_form *form, size_t at) {
    if (at == 0 || s->words[at - 1].match == 0) return false;
    const b2_match *before = &s->found->items[s->words[at - 1].match - 1];
    return s->lists->terms[before->term].category == s->lists->terms[form->term].category;
}

/* The longest form of a category that begins at a word; NULL: none. */
static const b2_form *find_form(const sentence *s, size_t category, size_t at) {
    const b2_form *best = NULL;
    for (size_t i = 0; i < s->lists->n_forms; i++) {
        const b2_form *form = &s->lists->forms[i];
        if (s->lists->terms[form->term].category != category || (best != NULL && form->n_words <= best->n_words)) continue;
        if (form_fits(s, form, at) && !(form->not_behind_own && follows_own_category(s, form, at))) best = form;
    }
    return best;
}

/* The longest terms that begin at word `at`, one a category; *n_words: how many words they cover. */
static blip2_status match_at(sentence *s, size_t at, size_t *n_words, blip2_error *err) {
    const b2_form *forms[B2_MAX_CATEGORIES];
    *n_words = 0;
    for (size_t c = 0; c < s->lists->n_categories; c++) {
        forms[c] = find_form(s, c, at);
        if (forms[c] != NULL && forms[c]->n_words > *n_words) *n_words = forms[c]->n_words;
    }
    for (size_t c = 0; c < s->lists->n_categories; c++) {
        if (forms[c] == NULL || forms[c]->n_words < *n_words) continue;
        const size_t start = s->words[at].start;
        B2_TRY(add_match(s->found, (b2_match){.start = start, .len = s->words[at + *n_words - 1].end - start, .term = forms[c]->term}, err));
        for (size_t k = 0; k < *n_words; k++) s->words[at + k].match = s->found->n;
    }
    return BLIP2_OK;
}

/* ---- the background ------------------------------------------------------------------------------------------------------- */

static bool is_one_of(const char *letters, const char *const *list) {
    for (; *list != NULL; list++)
        if (strcmp(letters, *list) == 0) return true;
    return false;
}

static void drop_at(sentence *s, size_t at) {
    if (s->words[at].match == 0) return;
    const size_t start = s->words[at].start;
    for (size_t i = 0; i < s->found->n; i++) {
        b2_match *m = &s->found->items[i];
        if (m->start <= start && start < m->start + m->len) m->is_dropped = true;
    }
}

/* Words that may stand between a colour and the background it describes. */
static bool is_modifier(const char *letters) {
    static const char *const modifiers[] = {"and", "or", "a", "light", "dark", "bright", "pale", "deep", "plain", "solid", "blurred", "blurry",
                                            "colored", "coloured", "gradient", "empty", "simple", NULL};
    return is_one_of(letters, modifiers) && strcmp(letters, "a") != 0;
}

/* The first of the words that describe the noun at `noun`: terms and modifiers in an unbroken run. */
static size_t find_description(const sentence *s, size_t noun) {
    size_t first = noun;
    while (first > 0 && s->words[first].joint != '.' && (s->words[first - 1].match > 0 || is_modifier(s->words[first - 1].letters))) first--;
    return first;
}

static bool is_placed(const sentence *s, size_t first) {
    static const char *const articles[] = {"a", "an", "the", "some", "its", NULL};
    static const char *const places[] = {"on", "onto", "against", "over", "atop", "upon", "before", "of", NULL}; /* in front of, on top of */
    if (first > 0 && is_one_of(s->words[first - 1].letters, articles)) first--;
    return first > 0 && is_one_of(s->words[first - 1].letters, places);
}

/* "a white background", "on a white wall"; "the background is white". */
static void drop_background(sentence *s) {
    static const char *const verbs[] = {"is", "was", "are", NULL};
    for (size_t at = 0; at < s->n; at++) {
        for (size_t i = 0; i < s->lists->n_backgrounds; i++) {
            const b2_form *noun = &s->lists->backgrounds[i];
            if (!form_fits(s, noun, at)) continue;
            const size_t first = find_description(s, at);
            if (!noun->not_behind_own || is_placed(s, first))
                for (size_t k = first; k < at; k++) drop_at(s, k);
            if (!noun->not_behind_own && at + 2 < s->n && is_one_of(s->words[at + 1].letters, verbs))
                for (size_t k = at + 2; k < s->n && (s->words[k].match > 0 || is_modifier(s->words[k].letters)); k++) drop_at(s, k);
        }
    }
}

static blip2_status match_sentence(sentence *s, blip2_error *err) {
    for (size_t at = 0, n_words; at < s->n; at += n_words > 0 ? n_words : 1) B2_TRY(match_at(s, at, &n_words, err));
    drop_background(s);
    return BLIP2_OK;
}

static blip2_status match_words(const b2_words *words, char *lower, const size_t *origin, b2_matches *out, blip2_error *err) {
    sentence s = {.lists = words, .found = out, .words = calloc(strlen(lower) + 1, sizeof(word))};
    if (s.words == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the words of a text");
    s.n = split_words(lower, origin, s.words);
    const blip2_status status = match_sentence(&s, err);
    free(s.words);
    return status;
}

/* ---- substrings ------------------------------------------------------------------------------------------------------------- */

static blip2_status match_substrings(const b2_words *words, const char *lower, const size_t *origin, b2_matches *out, blip2_error *err) {
    const bool has_background = strstr(lower, "background") != NULL;
    for (size_t t = 0; t < words->n_terms; t++) {
        const char *name = words->terms[t].name;
        char *term = b2_lower(name, NULL);
        if (term == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the words of a text");
        const char *at = has_background && strcmp(term, "white") == 0 ? NULL : strstr(lower, term);
        const size_t len = strlen(term);
        free(term);
        if (at == NULL) continue;
        const size_t from = (size_t)(at - lower);
        B2_TRY(add_match(out, (b2_match){.start = origin[from], .len = origin[from + len] - origin[from], .term = t}, err));
    }
    return BLIP2_OK;
}

blip2_status b2_match_text(const b2_words *words, b2_match_mode mode, const char *text, b2_matches *out, blip2_error *err) {
    size_t *origin = NULL;
    char *lower = b2_lower(text, &origin);
    out->n = 0;
    blip2_status status;
    if (lower == NULL) status = b2_fail(err, BLIP2_MEMORY, "no memory for the words of a text");
    else if (mode == B2_MATCH_WORD) status = match_words(words, lower, origin, out, err);
    else status = match_substrings(words, lower, origin, out, err);
    free(lower);
    free(origin);
    return status;
}

/* ---- columns ------------------------------------------------------------------------------------------------------------------ */

static bool belongs(const b2_words *words, const b2_match *m, size_t column) {
    if (column == B2_MATCH_DROPPED) return m->is_dropped;
    if (m->is_dropped) return false;
    if (column == B2_MATCH_AMBIGUOUS) return words->terms[m->term].is_homograph;
    return words->terms[m->term].category == column;
}

static bool was_before(const b2_words *words, const b2_matches *matches, size_t i, size_t column) {
    for (size_t k = 0; k < i; k++)
        if (belongs(words, &matches->items[k], column) && strcmp(words->terms[matches->items[k].term].name, words->terms[matches->items[i].term].name) == 0)
            return true;
    return false;
}

/* The match of the same column glued to match i by a hyphen; matches->n: none. */
static size_t find_partner(const b2_words *words, const char *text, const b2_matches *matches, size_t i, size_t column) {
    const b2_match *m = &matches->items[i];
    size_t k = i + 1;
    while (k < matches->n && !(belongs(words, &matches->items[k], column) && matches->items[k].start == m->start + m->len + 1)) k++;
    return k < matches->n && text[m->start + m->len] == '-' ? k : matches->n;
}

char *b2_match_join(const b2_words *words, b2_match_mode mode, const char *text, const b2_matches *matches, size_t column) {
    char *joined = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&joined, &n_bytes);
    if (out == NULL) return NULL;
    const char *separator = "";
    for (size_t i = 0; i < matches->n; i++) {
        if (!belongs(words, &matches->items[i], column)) continue;
        const char *name = words->terms[matches->items[i].term].name;
        const bool repeats = mode == B2_MATCH_WORD && was_before(words, matches, i, column);
        if (!repeats) fprintf(out, "%s%s", separator, name), separator = mode == B2_MATCH_WORD ? "; " : ", ";
        const size_t partner = mode == B2_MATCH_WORD && column < words->n_categories ? find_partner(words, text, matches, i, column) : matches->n;
        if (partner < matches->n) fprintf(out, "%s%s-%s", separator, name, words->terms[matches->items[partner].term].name);
    }
    if (fclose(out) == 0) return joined;
    free(joined);
    return NULL;
}
