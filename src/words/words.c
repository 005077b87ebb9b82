/* words.c: from a list's lines to terms and forms. The lists of data/words are compiled in. */
#include "words/words.h"

#include "base/file.h"
#include "base/grow.h"
#include "base/path.h"
#include "base/size.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static const char colors[] =
#include "words/words_colors.inc"
    ;
static const char textures[] =
#include "words/words_textures.inc"
    ;
static const char patterns[] =
#include "words/words_patterns.inc"
    ;
static const char materials[] =
#include "words/words_materials.inc"
    ;
static const char background[] =
#include "words/words_background.inc"
    ;

typedef struct builtin_list {
    const char *name, *other_name, *text;
} builtin_list;

static const builtin_list builtin_lists[] = {{"colors", "colours", colors},
                                             {"textures", "texture", textures},
                                             {"patterns", "pattern", patterns},
                                             {"materials", "material", materials}};
enum { N_BUILTIN = sizeof builtin_lists / sizeof builtin_lists[0] };

/* ---- lower case ------------------------------------------------------------------------------------------------ */

/* Python's str.lower() for what a search for plain words can meet: one character to one, but for the dotted capital
 * I. */
static size_t lower_character(int32_t c, uint8_t out[8]) {
    if (c == 0x130) {
        memcpy(out, "i\xCC\x87", 3);
        return 3;
    }
    return (size_t)utf8proc_encode_char(utf8proc_tolower(c), out);
}

char *b2_lower(const char *text, size_t **origin) {
    const size_t len = strlen(text);
    char *out = malloc(3 * len + 1);
    size_t *from = origin != NULL ? malloc((3 * len + 1) * sizeof *from) : NULL;
    if (out == NULL || (origin != NULL && from == NULL)) {
        free(out);
        free(from);
        return NULL;
    }
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        int32_t c;
        uint8_t lower[8] = {(uint8_t)text[i]}; /* a byte that is not UTF-8 stands for itself */
        const size_t step = b2_utf8_decode(text + i, len - i, &c);
        const size_t n_lower = c < 0 ? 1 : b2_min(lower_character(c, lower), 3 * step);
        for (size_t k = 0; k < n_lower; k++, n++) {
            out[n] = (char)lower[k];
            if (from != NULL) from[n] = i;
        }
        i += step;
    }
    out[n] = '\0';
    if (from != NULL) {
        from[n] = len;
        *origin = from;
    }
    return out;
}

/* ---- one list -------------------------------------------------------------------------------------------------- */

/* Keeps bytes that names and words will point into. */
static char *keep_text(b2_words *w, char *text) {
    if (text != NULL && b2_grow(&w->texts, w->n_texts, &w->text_capacity, sizeof *w->texts))
        return w->texts[w->n_texts++] = text;
    free(text);
    return NULL;
}

/* Cuts a form into its words, in place: letters and what is glued to them; blanks, '-' and '/' part them. */
static blip2_status split_form(char *text, b2_form *form, blip2_error *err) {
    for (char *word = strtok(text, " -/"); word != NULL; word = strtok(NULL, " -/")) {
        if (form->n_words == B2_MAX_TERM_WORDS)
            return b2_fail(err, BLIP2_LIMIT, "a term of more than %d words", B2_MAX_TERM_WORDS);
        form->words[form->n_words++] = word;
    }
    return BLIP2_OK;
}

/* "?name": the marks come off and set their flags. */
static const char *take_marks(const char *field, b2_form *form, bool *is_homograph) {
    for (;; field++) {
        if (*field == '?') *is_homograph = true;
        else if (*field == '=') form->is_exact = true;
        else if (*field == '-') form->not_after_sibling = true;
        else if (*field == '+') form->needs_preposition = true;
        else return field;
    }
}

static blip2_status add_form(b2_words *w, b2_form form, const char *name, blip2_error *err) {
    char *lower = keep_text(w, b2_lower(name, NULL));
    if (lower == NULL || !b2_grow(&w->forms, w->n_forms, &w->form_capacity, sizeof *w->forms))
        return b2_fail(err, BLIP2_MEMORY, "no memory for a word list");
    B2_TRY(split_form(lower, &form, err));
    if (form.n_words > 0) w->forms[w->n_forms++] = form;
    return BLIP2_OK;
}

static bool is_colour_code(const char *field) {
    return field[0] == '#' && strlen(field) == 7 && strspn(field + 1, "0123456789abcdefABCDEF") == 6;
}

/* One line, NUL-terminated, which it cuts at its tabs. */
static blip2_status add_line(b2_words *w, size_t category, char *line, blip2_error *err) {
    b2_term term = {.category = category};
    bool is_homograph = false;
    for (char *field = line, *next; field != NULL; field = next) {
        next = strchr(field, '\t');
        if (next != NULL) *next++ = '\0';
        if (is_colour_code(field)) {
            term.colour = field;
            continue;
        }
        b2_form form = {.term = w->n_terms};
        const char *name = take_marks(field, &form, &is_homograph);
        if (*name == '\0') continue;
        if (term.name == NULL) term.name = name;
        B2_TRY(add_form(w, form, name, err));
    }
    if (term.name == NULL) return BLIP2_OK;
    if (!b2_grow(&w->terms, w->n_terms, &w->term_capacity, sizeof *w->terms))
        return b2_fail(err, BLIP2_MEMORY, "no memory for a word list");
    term.is_homograph = is_homograph;
    w->terms[w->n_terms++] = term;
    return BLIP2_OK;
}

static blip2_status add_lines(b2_words *w, size_t category, char *list, blip2_error *err) {
    for (char *line = list, *next; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL) *next++ = '\0';
        size_t len = strlen(line);
        while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ')) line[--len] = '\0';
        if (len == 0 || (line[0] == '#' && !is_colour_code(line))) continue;
        B2_TRY(add_line(w, category, line, err));
    }
    return BLIP2_OK;
}

static char *copy_bytes(const char *bytes, size_t n) {
    char *copy = malloc(n + 1);
    if (copy == NULL) return NULL;
    memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}

blip2_status b2_words_add_list(b2_words *w, const char *name, const char *list, size_t n_bytes, blip2_error *err) {
    const size_t mark = b2_utf8_mark(list, n_bytes);
    list += mark;
    n_bytes -= mark;
    for (size_t i = 0; i < w->n_categories; i++)
        if (strcmp(w->categories[i].name, name) == 0)
            return b2_fail(err, BLIP2_ARGUMENT, "the word list '%s' is named twice", name);
    if (w->n_categories == B2_MAX_CATEGORIES)
        return b2_fail(err, BLIP2_LIMIT, "more than %d word lists", B2_MAX_CATEGORIES);
    if (memchr(list, '\0', n_bytes) != NULL)
        return b2_fail(err, BLIP2_FORMAT, "%s: not a word list: it holds NUL bytes", name);
    char *own_name = keep_text(w, copy_bytes(name, strlen(name)));
    char *text = keep_text(w, copy_bytes(list, n_bytes));
    if (own_name == NULL || text == NULL) return b2_fail(err, BLIP2_MEMORY, "no memory for a word list");
    b2_category *category = &w->categories[w->n_categories];
    *category = (b2_category){.name = own_name, .first_term = w->n_terms};
    B2_TRY(add_lines(w, w->n_categories++, text, err));
    category->n_terms = w->n_terms - category->first_term;
    if (category->n_terms == 0) return b2_fail(err, BLIP2_FORMAT, "%s: is empty, expected one term a line", name);
    return BLIP2_OK;
}

/* The list of background nouns: its forms are all that is kept of it. */
static blip2_status add_backgrounds(b2_words *w, blip2_error *err) {
    if (w->n_backgrounds > 0) return BLIP2_OK;
    b2_words list = {0};
    blip2_status status = b2_words_add_list(&list, "background", background, sizeof background - 1, err);
    for (size_t i = 0; status == BLIP2_OK && i < list.n_texts; i++) {
        if (keep_text(w, list.texts[i]) == NULL) status = b2_fail(err, BLIP2_MEMORY, "no memory for a word list");
        list.texts[i] = NULL;
    }
    w->backgrounds = list.forms;
    w->n_backgrounds = list.n_forms;
    list.forms = NULL;
    b2_words_free(&list);
    return status;
}

/* ---- what the user names --------------------------------------------------------------------------------------- */

static blip2_status add_builtin(b2_words *w, const char *name, size_t len, blip2_error *err) {
    for (size_t i = 0; i < N_BUILTIN; i++) {
        const builtin_list *b = &builtin_lists[i];
        if ((strlen(b->name) == len && strncmp(b->name, name, len) == 0) ||
            (strlen(b->other_name) == len && strncmp(b->other_name, name, len) == 0))
            return b2_words_add_list(w, b->name, b->text, strlen(b->text), err);
    }
    return b2_fail(
        err, BLIP2_ARGUMENT,
        "no word list '%.*s'; there are colors, textures, patterns, materials and all (--words FILE brings another)",
        (int)len, name);
}

blip2_status b2_words_add_builtin(b2_words *w, const char *names, blip2_error *err) {
    B2_TRY(add_backgrounds(w, err));
    if (strcmp(names, "all") == 0) {
        for (size_t i = 0; i < N_BUILTIN; i++)
            B2_TRY(add_builtin(w, builtin_lists[i].name, strlen(builtin_lists[i].name), err));
        return BLIP2_OK;
    }
    for (const char *name = names;;) {
        const size_t len = strcspn(name, ",");
        B2_TRY(add_builtin(w, name, len, err));
        if (name[len] == '\0') return BLIP2_OK;
        name += len + 1;
    }
}

blip2_status b2_words_add_file(b2_words *w, const char *name_and_path, blip2_error *err) {
    char name[64], *bytes = NULL;
    const char *equals = strchr(name_and_path, '='), *path = equals != NULL ? equals + 1 : name_and_path;
    const char *base = b2_path_base(path);
    if (equals != NULL) snprintf(name, sizeof name, "%.*s", (int)(equals - name_and_path), name_and_path);
    else snprintf(name, sizeof name, "%.*s", (int)strcspn(base, "."), base);
    if (name[0] == '\0')
        return b2_fail(err, BLIP2_ARGUMENT, "--words %s: the list has no name; NAME=FILE gives it one", name_and_path);
    size_t n = 0;
    blip2_status status = add_backgrounds(w, err);
    if (status == BLIP2_OK) status = b2_input_read(path, &bytes, &n, err);
    if (status == BLIP2_OK) status = b2_words_add_list(w, name, bytes, n, err);
    free(bytes);
    return status;
}

void b2_words_free(b2_words *w) {
    for (size_t i = 0; i < w->n_texts; i++) free(w->texts[i]);
    free(w->texts);
    free(w->terms);
    free(w->forms);
    free(w->backgrounds);
    *w = (b2_words){0};
}
