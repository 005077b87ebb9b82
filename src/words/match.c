/* match.c: word mode cuts the text into words, lays the longest terms over them, and takes back those that describe the
 * background. Substring mode looks with strstr. */
#include "words/match.h"

#include "base/grow.h"
#include "base/memory_text.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

typedef struct word {
    char *letters;     /* lower case, NUL-terminated; in the lower-case copy */
    size_t start, end; /* bytes of the text */
    char joint;   /* what stands before it: '-' or '/' glued to both words, ' ', or '.' for any other punctuation */
    size_t match; /* 1 + index of the last match that covers it; 0: none */
    size_t run;   /* where the unbroken run of terms and modifiers before it begins: itself when there is none */
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
    if (!b2_grow(&m->items, m->n, &m->capacity, sizeof *m->items))
        return b2_fail(err, BLIP2_MEMORY, "no memory for the words of a text");
    m->items[m->n++] = match;
    return BLIP2_OK;
}

/* ---- words ----------------------------------------------------------------------------------------------------- */

static bool is_letter(int32_t c) {
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ND: return true;
    default: return false;
    }
}

/* lower is cut in place; origin tells where its bytes stand in the text. words has room for half of its bytes and one:
 * between two words stands at least one byte. */
static size_t split_words(char *lower, const size_t *origin, word *words) {
    size_t n = 0, at = 0;
    char joint = ' ';
    const size_t len = strlen(lower);
    bool inside = false;
    while (at < len) {
        int32_t c;
        const size_t step = b2_utf8_decode(lower + at, len - at, &c);
        const bool letter = c >= 0 && is_letter(c);
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
        at += step;
    }
    if (inside) words[n++].end = origin[len];
    return n;
}

/* ---- inflections ----------------------------------------------------------------------------------------------- */

static bool ends_as(const char *rest, const char *const *endings) {
    for (; *endings != NULL; endings++)
        if (strcmp(rest, *endings) == 0) return true;
    return false;
}

/* stem, stems, stemmed, stemmish, stemmy; stripe, striped, stripish, stripy; berry, berries. */
static bool is_inflection(const char *stem, const char *word_letters) {
    static const char *const plain[] = {"s", "es", "ed", "ish", "y", NULL}, *const after_e[] = {"s", "d", NULL};
    static const char *const without_e[] = {"ish", "y", NULL}, *const without_y[] = {"ies", "ied", NULL},
                             *const doubled[] = {"ed", "ish", "y", NULL};
    const size_t n = strlen(stem);
    if (n < 3) return false;
    const char last = stem[n - 1];
    if (strncmp(stem, word_letters, n) == 0) {
        const char *rest = word_letters + n;
        return ends_as(rest, last == 'e' ? after_e : plain) || (rest[0] == last && ends_as(rest + 1, doubled));
    }
    if (strncmp(stem, word_letters, n - 1) != 0) return false;
    return (last == 'e' && ends_as(word_letters + n - 1, without_e)) ||
           (last == 'y' && ends_as(word_letters + n - 1, without_y));
}

/* ---- terms ----------------------------------------------------------------------------------------------------- */

static bool form_fits(const sentence *s, const b2_form *form, size_t at) {
    if (at + form->n_words > s->n) return false;
    for (size_t k = 0; k < form->n_words; k++) {
        const char *have = s->words[at + k].letters;
        const bool is_last = k + 1 == form->n_words;
        if (k > 0 && s->words[at + k].joint == '.') return false;
        if (strcmp(form->words[k], have) != 0 && (!is_last || form->is_exact || !is_inflection(form->words[k], have)))
            return false;
    }
    return true;
}

static bool follows_sibling(const sentence *s, const b2_form *form, size_t at) {
    if (at == 0 || s->words[at - 1].match == 0) return false;
    const b2_match *before = &s->found->items[s->words[at - 1].match - 1];
    return s->lists->terms[before->term].category == s->lists->terms[form->term].category;
}

/* The longest terms that begin at word `at`, one a category; *n_words: how many words they cover. */
static blip2_status match_at(sentence *s, size_t at, size_t *n_words, blip2_error *err) {
    const b2_form *forms[B2_MAX_CATEGORIES] = {NULL};
    *n_words = 0;
    for (size_t i = 0; i < s->lists->n_forms; i++) {
        const b2_form *form = &s->lists->forms[i], **best = &forms[s->lists->terms[form->term].category];
        if (form->words[0][0] != s->words[at].letters[0] || (*best != NULL && form->n_words <= (*best)->n_words))
            continue;
        if (!form_fits(s, form, at) || (form->not_after_sibling && follows_sibling(s, form, at))) continue;
        *best = form;
        if (form->n_words > *n_words) *n_words = form->n_words;
    }
    for (size_t c = 0; c < s->lists->n_categories; c++) {
        if (forms[c] == NULL || forms[c]->n_words < *n_words) continue;
        const size_t start = s->words[at].start;
        B2_TRY(add_match(
            s->found,
            (b2_match){.start = start, .len = s->words[at + *n_words - 1].end - start, .term = forms[c]->term}, err));
        for (size_t k = 0; k < *n_words; k++) s->words[at + k].match = s->found->n;
    }
    return BLIP2_OK;
}

/* ---- the background -------------------------------------------------------------------------------------------- */

static bool is_one_of(const char *letters, const char *const *list) {
    for (; *list != NULL; list++)
        if (strcmp(letters, *list) == 0) return true;
    return false;
}

/* Drops what covers the words from `from` to before `to`: the matches of a word follow each other. */
static void drop(sentence *s, size_t from, size_t to) {
    for (size_t at = from; at < to; at++) {
        b2_match *items = s->found->items;
        const size_t last = s->words[at].match;
        for (size_t i = last; i > 0 && items[i - 1].start == items[last - 1].start; i--) items[i - 1].is_dropped = true;
    }
}

/* Words that may stand between a colour and the background it describes. */
static bool is_modifier(const char *letters) {
    static const char *const modifiers[] = {"and",      "or",       "light", "dark",    "bright", "pale",
                                            "deep",     "plain",    "solid", "blurred", "blurry", "colored",
                                            "coloured", "gradient", "empty", "simple",  NULL};
    return is_one_of(letters, modifiers);
}

static bool describes(const sentence *s, size_t at) {
    return s->words[at].match > 0 || is_modifier(s->words[at].letters);
}

/* A noun's description is the run before it. Found in one pass: texts may be one long run of nouns. */
static void find_runs(sentence *s) {
    for (size_t at = 0; at < s->n; at++) {
        const bool goes_on = at > 0 && s->words[at].joint != '.' && describes(s, at - 1);
        s->words[at].run = goes_on ? s->words[at - 1].run : at;
    }
}

static bool is_placed(const sentence *s, size_t first) {
    static const char *const articles[] = {"a", "an", "the", "some", "its", NULL};
    static const char *const places[] = {"on",   "onto",   "against", "over", "atop",
                                         "upon", "before", "of",      NULL}; /* in front of, on top of */
    if (first > 0 && is_one_of(s->words[first - 1].letters, articles)) first--;
    return first > 0 && is_one_of(s->words[first - 1].letters, places);
}

/* Until where words are dropped, in a run before the noun and in one after its verb: what was dropped for the
 * last noun is not looked at again. */
typedef struct dropped {
    size_t run, before, after;
} dropped;

/* "a white background", "on a white wall"; "the background is white". */
static void drop_for(sentence *s, const b2_form *noun, size_t at, dropped *d) {
    static const char *const verbs[] = {"is", "was", "are", NULL};
    const size_t first = s->words[at].run;
    if (!noun->needs_preposition || is_placed(s, first)) {
        drop(s, first == d->run && d->before > first ? d->before : first, at);
        d->run = first;
        d->before = at;
    }
    if (noun->needs_preposition || at + 2 >= s->n || at + 2 < d->after || !is_one_of(s->words[at + 1].letters, verbs))
        return;
    for (d->after = at + 2; d->after < s->n && describes(s, d->after);) d->after++;
    drop(s, at + 2, d->after);
}

static void drop_background(sentence *s) {
    dropped d = {0};
    find_runs(s);
    for (size_t at = 0; at < s->n; at++)
        for (size_t i = 0; i < s->lists->n_backgrounds; i++)
            if (form_fits(s, &s->lists->backgrounds[i], at)) drop_for(s, &s->lists->backgrounds[i], at, &d);
}

static blip2_status match_sentence(sentence *s, blip2_error *err) {
    for (size_t at = 0, n_words; at<s->n; at += n_words> 0 ? n_words : 1) B2_TRY(match_at(s, at, &n_words, err));
    drop_background(s);
    return BLIP2_OK;
}

static blip2_status match_words(const b2_words *words, char *lower, const size_t *origin, b2_matches *out,
                                blip2_error *err) {
    sentence s = {.lists = words, .found = out, .words = calloc(strlen(lower) / 2 + 1, sizeof(word))};
    if (s.words == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for the words of a text");
    s.n = split_words(lower, origin, s.words);
    const blip2_status status = match_sentence(&s, err);
    free(s.words);
    return status;
}

/* ---- substrings ------------------------------------------------------------------------------------------------ */

static blip2_status match_substrings(const b2_words *words, const char *lower, const size_t *origin, b2_matches *out,
                                     blip2_error *err) {
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
        B2_TRY(add_match(out, (b2_match){.start = origin[from], .len = origin[from + len] - origin[from], .term = t},
                         err));
    }
    return BLIP2_OK;
}

blip2_status b2_match_text(const b2_words *words, b2_match_mode mode, const char *text, b2_matches *out,
                           blip2_error *err) {
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

/* ---- columns --------------------------------------------------------------------------------------------------- */

size_t b2_match_columns(const b2_words *words, b2_match_mode mode) {
    return words->n_categories + (mode == B2_MATCH_WORD ? 2 : 0);
}

const char *b2_match_column_name(const b2_words *words, size_t column) {
    if (column < words->n_categories) return words->categories[column].name;
    return column == words->n_categories ? "dropped" : "ambiguous";
}

static bool belongs(const b2_words *words, const b2_match *m, size_t column) {
    if (column == words->n_categories || m->is_dropped) return column == words->n_categories && m->is_dropped;
    const b2_term *term = &words->terms[m->term];
    return column < words->n_categories ? term->category == column : term->is_homograph;
}

/* What a column has been given, so that each name and each compound comes once. Terms of several categories may have
 * one name: the first one met stands for it. */
typedef struct given_term {
    size_t same, next; /* 1 + the term that stands for its name, 0: not met yet; 1 + another one that does */
    size_t pairs;      /* 1 + the last compound that begins with it */
    bool is_given;
} given_term;

typedef struct given_pair {
    size_t second, before; /* 1 + the compound before it with the same first term */
} given_pair;

typedef struct given {
    const b2_words *words;
    given_term *terms; /* [n_terms] */
    size_t met;        /* 1 + the last one that stands for its name */
    given_pair *pairs;
    size_t n_pairs, capacity;
} given;

/* The term that stands for the name of one. Its search is done once a term, not once a match. */
static size_t stand_in(given *g, size_t term) {
    given_term *t = &g->terms[term];
    for (size_t k = g->met; t->same == 0 && k > 0; k = g->terms[k - 1].next)
        if (strcmp(g->words->terms[k - 1].name, g->words->terms[term].name) == 0) t->same = k;
    if (t->same != 0) return t->same - 1;
    t->same = term + 1;
    t->next = g->met;
    g->met = term + 1;
    return term;
}

/* Is this compound the first of its names? It is noted. False too without memory: *failed. */
static bool is_new_pair(given *g, size_t first, size_t second, bool *failed) {
    given_term *t = &g->terms[first];
    for (size_t k = t->pairs; k > 0; k = g->pairs[k - 1].before)
        if (g->pairs[k - 1].second == second) return false;
    if (!b2_grow(&g->pairs, g->n_pairs, &g->capacity, sizeof *g->pairs)) {
        *failed = true;
        return false;
    }
    g->pairs[g->n_pairs++] = (given_pair){second, t->pairs};
    t->pairs = g->n_pairs;
    return true;
}

/* The match of the same column glued to match i by a hyphen; matches->n: none. Matches are in the order of the text. */
static size_t find_partner(const b2_words *words, const char *text, const b2_matches *matches, size_t i,
                           size_t column) {
    const size_t end = matches->items[i].start + matches->items[i].len;
    if (text[end] != '-') return matches->n;
    for (size_t k = i + 1; k < matches->n && matches->items[k].start <= end + 1; k++)
        if (matches->items[k].start == end + 1 && belongs(words, &matches->items[k], column)) return k;
    return matches->n;
}

static bool give_compound(const char *first, const char *second, b2_match_fn *fn, void *context) {
    const size_t capacity = strlen(first) + strlen(second) + 2;
    char *compound = malloc(capacity);
    if (compound == NULL) return false;
    snprintf(compound, capacity, "%s-%s", first, second);
    fn(context, compound);
    free(compound);
    return true;
}

/* Gives the name of match i and its compound, each unless it was given before. False without memory. */
static bool give_once(given *g, const char *text, const b2_matches *matches, size_t i, size_t column, b2_match_fn *fn,
                      void *context) {
    const size_t first = stand_in(g, matches->items[i].term);
    bool failed = false;
    if (!g->terms[first].is_given) fn(context, g->words->terms[first].name);
    g->terms[first].is_given = true;
    if (column >= g->words->n_categories) return true;
    const size_t partner = find_partner(g->words, text, matches, i, column);
    if (partner == matches->n) return true;
    const size_t second = stand_in(g, matches->items[partner].term);
    if (!is_new_pair(g, first, second, &failed)) return !failed;
    return give_compound(g->words->terms[first].name, g->words->terms[second].name, fn, context);
}

bool b2_match_each(const b2_words *words, b2_match_mode mode, const char *text, const b2_matches *matches,
                   size_t column, b2_match_fn *fn, void *context) {
    const bool is_substring = mode == B2_MATCH_SUBSTRING;
    given g = {.words = words};
    bool is_done = true;
    if (!is_substring && matches->n > 0) {
        g.terms = calloc(words->n_terms, sizeof *g.terms);
        is_done = g.terms != NULL;
    }
    for (size_t i = 0; is_done && i < matches->n; i++) {
        if (!belongs(words, &matches->items[i], column)) continue;
        if (is_substring) fn(context, words->terms[matches->items[i].term].name);
        else is_done = give_once(&g, text, matches, i, column, fn, context);
    }
    free(g.terms);
    free(g.pairs);
    return is_done;
}

typedef struct join {
    FILE *out;
    const char *separator, *next; /* next: "" before the first word */
} join;

static void join_word(void *context, const char *name) {
    join *j = context;
    fprintf(j->out, "%s%s", j->next, name);
    j->next = j->separator;
}

char *b2_match_join(const b2_words *words, b2_match_mode mode, const char *text, const b2_matches *matches,
                    size_t column) {
    b2_memory_text joined;
    join j = {.out = b2_memory_text_begin(&joined), .separator = mode == B2_MATCH_WORD ? "; " : ", ", .next = ""};
    if (j.out == NULL) return NULL;
    const bool is_done = b2_match_each(words, mode, text, matches, column, join_word, &j);
    if (!b2_memory_text_end(&joined) || is_done) return joined.text;
    free(joined.text);
    return NULL;
}
