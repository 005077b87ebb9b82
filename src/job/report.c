/* report.c: one HTML page that needs nothing else: thumbnails inside, filters in CSS, a search box where scripts run.
 *
 *   input, input, ...   one for each filter, hidden; what is chosen is state of the page, not of a script
 *   nav                 their labels
 *   main                one article a picture; the browser lays out only those in sight (content-visibility) */
#include "job/report.h"

#include "base/utf8.h"
#include "console/output.h"

#include <stdlib.h>
#include <string.h>

static const char css[] =
#include "job/report_css.inc"
    ;
static const char script[] =
#include "job/report_js.inc"
    ;

typedef struct report {
    const b2_style *style;
    FILE *out;
    size_t n_records, n_with_status[B2_N_RECORD_STATUSES];
    size_t *n_with_term; /* [words->n_terms] pictures; from malloc */
    bool *found;         /* [words->n_terms], of one picture; from malloc */
    b2_matches matches;
} report;

static const char *status_name(size_t status) { return b2_record_status_name((b2_record_status)status); }

/* ---- text ------------------------------------------------------------------------------------------------------ */

static void write_text(const char *text, size_t len, FILE *out) {
    for (const unsigned char *s = (const unsigned char *)text, *end = s + len; s < end;) {
        const size_t n = b2_utf8_length(s, B2_UTF8_MAX);
        if (*s == '&') fputs("&amp;", out);
        else if (*s == '<') fputs("&lt;", out);
        else if (*s == '>') fputs("&gt;", out);
        else if (*s == '"') fputs("&quot;", out);
        else if (n == 0) fputs("\xEF\xBF\xBD", out);
        else fwrite(s, 1, n, out);
        s += n > 0 ? n : 1;
    }
}

static void write_string(const char *text, FILE *out) { write_text(text, strlen(text), out); }

/* Black or white, whichever reads better on a "#rrggbb" (ITU-R BT.601 luma). */
static const char *ink_on(const char *colour) {
    const unsigned long rgb = strtoul(colour + 1, NULL, 16);
    const unsigned long luma = 299 * (rgb >> 16 & 255) + 587 * (rgb >> 8 & 255) + 114 * (rgb & 255);
    return luma > 140000 ? "#000" : "#fff";
}

/* The match that covers a place in the text: the first found one. */
static const b2_match *find_match(const report *r, size_t at) {
    for (size_t i = 0; i < r->matches.n; i++)
        if (r->matches.items[i].start <= at && at < r->matches.items[i].start + r->matches.items[i].len)
            return &r->matches.items[i];
    return NULL;
}

static void write_marked(const report *r, const char *text, const b2_match *m, size_t start, size_t end) {
    const b2_term *term = &r->style->words->terms[m->term];
    fputs("<mark", r->out);
    if (m->is_dropped) fputs(" class=dropped", r->out);
    else if (term->colour != NULL)
        fprintf(r->out, " class=tinted style=\"background:%s;color:%s\"", term->colour, ink_on(term->colour));
    fputs(" title=\"", r->out);
    write_string(r->style->words->categories[term->category].name, r->out);
    fputs(": ", r->out);
    write_string(term->name, r->out);
    fputs("\">", r->out);
    write_text(text + start, end - start, r->out);
    fputs("</mark>", r->out);
}

/* An answer, its words marked. The matches of the text are in r->matches. */
static void write_answer(report *r, const char *text) {
    if (text[0] == '\0') fputs("<small>nothing</small>", r->out);
    for (size_t at = 0, len = strlen(text); at < len;) {
        const b2_match *m = find_match(r, at);
        size_t end = m != NULL ? m->start + m->len : at + 1;
        while (m == NULL && end < len && find_match(r, end) == NULL) end++;
        if (m != NULL) write_marked(r, text, m, at, end);
        else write_text(text + at, end - at, r->out);
        at = end;
    }
}

/* ---- counting -------------------------------------------------------------------------------------------------- */

/* Marks in r->found which terms the answers of a record hold. */
static blip2_status find_terms(report *r, const b2_record *record, blip2_error *err) {
    const b2_words *words = r->style->words;
    memset(r->found, 0, words->n_terms * sizeof *r->found);
    for (size_t i = 0; i < record->n_answers; i++) {
        B2_TRY(b2_match_text(words, r->style->match_mode, record->answers[i].text, &r->matches, err));
        for (size_t k = 0; k < r->matches.n; k++)
            if (!r->matches.items[k].is_dropped) r->found[r->matches.items[k].term] = true;
    }
    return BLIP2_OK;
}

static blip2_status count_record(void *context, const b2_record *record, blip2_error *err) {
    report *r = context;
    if (record->n_answers > b2_style_answers(r->style)) /* a journal's bytes are anybody's */
        return b2_fail(err, BLIP2_FORMAT, "record %zu has %zu answers, expected %zu", record->index, record->n_answers,
                       b2_style_answers(r->style));
    r->n_records++;
    r->n_with_status[b2_record_get_status(record)]++;
    if (r->style->words == NULL) return BLIP2_OK;
    B2_TRY(find_terms(r, record, err));
    for (size_t t = 0; t < r->style->words->n_terms; t++) r->n_with_term[t] += r->found[t];
    return BLIP2_OK;
}

/* ---- the page -------------------------------------------------------------------------------------------------- */

/* One filter: its input, and the rules that hide the others' articles and show which label is on. */
static void write_filter(report *r, const char *group, const char *id, bool is_all) {
    fprintf(r->out, "<input type=radio name=%s id=%s%s>\n", group, id, is_all ? " checked" : "");
    fprintf(
        r->out,
        "<style>#%s:checked~nav label[for=%s]{background:var(--accent);border-color:var(--accent);color:var(--paper)}"
        "#%s:checked~nav label[for=%s] b{color:inherit}#%s:focus-visible~nav label[for=%s]{outline:2px solid var(--accent);outline-offset:2px}",
        id, id, id, id, id, id);
    if (!is_all) fprintf(r->out, "#%s:checked~main article:not(.%s){display:none}", id, id);
    fputs("</style>\n", r->out);
}

static void write_filters(report *r) {
    char id[32];
    write_filter(r, "state", "s-all", true);
    for (size_t i = 0; i < B2_N_RECORD_STATUSES; i++) {
        snprintf(id, sizeof id, "s-%s", status_name(i));
        if (r->n_with_status[i] > 0) write_filter(r, "state", id, false);
    }
    if (r->style->words == NULL) return;
    write_filter(r, "word", "w-all", true);
    for (size_t t = 0; t < r->style->words->n_terms; t++) {
        snprintf(id, sizeof id, "w-%zu", t);
        if (r->n_with_term[t] > 0) write_filter(r, "word", id, false);
    }
}

static void write_term_label(const report *r, size_t t) {
    const b2_term *term = &r->style->words->terms[t];
    fprintf(r->out, "<label for=w-%zu>", t);
    if (term->colour != NULL) fprintf(r->out, "<i style=\"background:%s\"></i>", term->colour);
    write_string(term->name, r->out);
    fprintf(r->out, " <b>%zu</b></label>\n", r->n_with_term[t]);
}

static void write_nav(const report *r) {
    fprintf(r->out, "<nav>\n<div>\n<label for=s-all>all <b>%zu</b></label>\n", r->n_records);
    for (size_t i = 0; i < B2_N_RECORD_STATUSES; i++)
        if (r->n_with_status[i] > 0)
            fprintf(r->out, "<label for=s-%s>%s <b>%zu</b></label>\n", status_name(i), status_name(i),
                    r->n_with_status[i]);
    fputs("<input type=search id=find placeholder=\"find text\" hidden>\n</div>\n", r->out);
    if (r->style->words != NULL) {
        fputs("<div>\n<label for=w-all>any word</label>\n", r->out);
        for (size_t t = 0; t < r->style->words->n_terms; t++)
            if (r->n_with_term[t] > 0) write_term_label(r, t);
        fputs("</div>\n", r->out);
    }
    fputs("</nav>\n", r->out);
}

static void write_picture(const report *r, const b2_record *record) {
    fputs("<figure>", r->out);
    if (record->thumbnail != NULL) {
        fprintf(r->out, "<img loading=lazy decoding=async width=%zu height=%zu alt=\"", record->thumbnail_width,
                record->thumbnail_height);
        write_string(record->n_answers > 0 ? record->answers[0].text : "", r->out);
        fprintf(r->out, "\" src=\"data:image/jpeg;base64,%s\">", record->thumbnail);
    } else {
        fputs("no picture", r->out);
    }
    fputs("</figure>\n", r->out);
}

static blip2_status write_card(void *context, const b2_record *record, blip2_error *err) {
    report *r = context;
    const b2_words *words = r->style->words;
    if (words != NULL) B2_TRY(find_terms(r, record, err));
    fprintf(r->out, "<article class=\"s-%s", status_name(b2_record_get_status(record)));
    for (size_t t = 0; words != NULL && t < words->n_terms; t++)
        if (r->found[t]) fprintf(r->out, " w-%zu", t);
    fputs("\">", r->out);
    write_picture(r, record);
    fputs("<div>\n", r->out);
    if (b2_record_why(record)[0] != '\0') {
        fputs("<p class=why>", r->out);
        write_string(b2_record_why(record), r->out);
        fputs("</p>\n", r->out);
    }
    for (size_t i = 0; i < record->n_answers; i++) {
        const char *text = record->answers[i].text;
        r->matches.n = 0;
        if (words != NULL) B2_TRY(b2_match_text(words, r->style->match_mode, text, &r->matches, err));
        fputs("<p>", r->out);
        if (b2_style_answers(r->style) > 1) {
            char name[B2_COLUMN_BYTES];
            fputs("<small>", r->out);
            write_string(b2_style_answer_column(r->style, i, name), r->out);
            fputs("</small>", r->out);
        }
        write_answer(r, text);
        fputs("</p>\n", r->out);
    }
    fputs("<footer><span>", r->out);
    write_string(record->path, r->out);
    fprintf(r->out, "</span><span class=state>%s</span></footer></div></article>\n",
            status_name(b2_record_get_status(record)));
    return BLIP2_OK;
}

static blip2_status write_page(report *r, const b2_record_set *set, blip2_error *err) {
    fprintf(
        r->out,
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width,initial-scale=1\">\n"
        "<title>%zu pictures, captioned by blip2</title>\n<style>\n%s</style>\n</head>\n<body>\n<header><h1>%zu pictures</h1>\n<p>%zu with answers, "
        "%zu failed; captioned by blip2 " BLIP2_VERSION "</p></header>\n",
        r->n_records, css, r->n_records,
        r->n_records - r->n_with_status[B2_RECORD_ERROR] - r->n_with_status[B2_RECORD_SKIPPED],
        r->n_with_status[B2_RECORD_ERROR]);
    write_filters(r);
    write_nav(r);
    fputs("<main>\n", r->out);
    B2_TRY(b2_record_set_each(set, write_card, r, err));
    fprintf(r->out, "</main>\n<script>\n%s</script>\n</body>\n</html>\n", script);
    return BLIP2_OK;
}

blip2_status b2_report_write(const b2_record_set *set, const b2_style *style, const char *path, blip2_error *err) {
    const size_t n_terms = style->words != NULL ? style->words->n_terms : 0;
    report r = {.style = style,
                .n_with_term = calloc(n_terms + 1, sizeof *r.n_with_term),
                .found = calloc(n_terms + 1, sizeof *r.found)};
    b2_output output = {0};
    blip2_status status =
        r.found != NULL && r.n_with_term != NULL ? BLIP2_OK : b2_fail(err, BLIP2_MEMORY, "no memory for a report");
    if (status == BLIP2_OK) status = b2_record_set_each(set, count_record, &r, err);
    if (status == BLIP2_OK) status = b2_output_open(&output, path, err);
    if (status == BLIP2_OK) {
        r.out = output.file;
        status = write_page(&r, set, err);
        if (status == BLIP2_OK) status = b2_output_commit(&output, err);
        else b2_output_abandon(&output);
    }
    b2_matches_free(&r.matches);
    free(r.n_with_term);
    free(r.found);
    return status;
}
