/* test_tar.c: samples of archives, whole ones and damaged ones; brace lists. Archives are written here, byte by byte:
 * ustar with pax and GNU long names. TARS=2000: so many damaged ones. */
#include "base/file.h"
#include "base/path.h"
#include "lists/tar_source.h"

#include "../random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCK = 512, MAX_TAR = 1 << 16, N_SAMPLES = 12, MAX_BYTES = 4000 };
static char path[] = "/tmp/blip2_tar_XXXXXX";

static int make_file(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 || close(fd) != 0;
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

/* ---- an archive ------------------------------------------------------------------------------------------------ */

typedef struct tar_text {
    uint8_t bytes[MAX_TAR];
    size_t n;
} tar_text;

static void put(tar_text *t, const char *name, char type, const char *data, size_t n) {
    uint8_t *h = t->bytes + t->n;
    unsigned sum = 0;
    assert_true(t->n + 2 * BLOCK + n + BLOCK < MAX_TAR);
    memset(h, 0, BLOCK);
    strncpy((char *)h, name, 100);
    sprintf((char *)h + 100, "%07o", 0644u);
    sprintf((char *)h + 124, "%011o", (unsigned)n);
    sprintf((char *)h + 136, "%011o", 0u);
    memset(h + 148, ' ', 8);
    h[156] = (uint8_t)type;
    memcpy(h + 257, "ustar\00000", 8);
    for (int i = 0; i < BLOCK; i++) sum += h[i];
    sprintf((char *)h + 148, "%06o", sum);
    memset(h + BLOCK, 0, (n + BLOCK - 1) / BLOCK * BLOCK);
    memcpy(h + BLOCK, data, n);
    t->n += BLOCK + (n + BLOCK - 1) / BLOCK * BLOCK;
}

static void put_text(tar_text *t, const char *name, const char *text) { put(t, name, '0', text, strlen(text)); }

static void end(tar_text *t) {
    memset(t->bytes + t->n, 0, 2 * BLOCK);
    t->n += 2 * BLOCK;
}

static b2_tar *open_tar(const uint8_t *bytes, size_t n) {
    b2_tar *tar = NULL;
    assert_int_equal(b2_file_write(path, (const char *)bytes, n, NULL), BLIP2_OK);
    return b2_tar_open(path, MAX_BYTES, &tar, NULL) == BLIP2_OK ? tar : NULL;
}

static void expect(b2_tar *tar, const char *name, const char *bytes, const char *json) {
    b2_sample s;
    bool has_sample;
    assert_int_equal(b2_tar_next(tar, &s, &has_sample, NULL), BLIP2_OK);
    assert_true(has_sample);
    assert_string_equal(s.name, name);
    assert_string_equal(s.json, json);
    assert_int_equal(s.error.status == BLIP2_OK, bytes != NULL);
    if (bytes != NULL) assert_memory_equal(s.bytes, bytes, s.n_bytes);
    b2_sample_free(&s);
}

static void expect_end(b2_tar *tar) {
    b2_sample s;
    bool has_sample = true;
    assert_int_equal(b2_tar_next(tar, &s, &has_sample, NULL), BLIP2_OK);
    assert_false(has_sample);
    b2_tar_close(tar);
}

static void need_libarchive(void) {
#ifndef B2_HAVE_ARCHIVE
    skip();
#endif
}

static void test_samples(void **state) {
    (void)state;
    need_libarchive();
    static const char pax[] = "19 path=d/\303\251.x.jpg\n";
    static tar_text t;
    t.n = 0;
    put_text(&t, "./a/1.png", "P1");
    put_text(&t, "a/1.txt", "one \"\377\"\n");
    put_text(&t, "a/1.json", "{\"x\":\n NaN}");
    put_text(&t, "a/1.mask.png", "mask");
    put_text(&t, "b/1.png", "P2"); /* another folder, another key */
    put_text(&t, "b/1.json", "{broken");
    put(&t, "b/link.png", '2', "", 0);
    put(&t, "b/dir.png/", '5', "", 0);
    put(&t, "b/null.png", '3', "", 0);
    put_text(&t, "b/.1.png", "hidden");
    put_text(&t, "b/README", "no dot");
    put(&t, "PaxHeaders/x", 'x', pax, sizeof pax - 1);
    put_text(&t, "short.jpg", "P3");
    put(&t, "././@LongLink", 'L', "../../etc/long.PNG", 19);
    put_text(&t, "cut.PNG", "P4");
    put_text(&t, "only.txt", "no picture");
    put_text(&t, "c.jpg", "P5");
    put_text(&t, "c.jpg", "P6"); /* the same name again: another sample */
    end(&t);
    b2_tar *tar = open_tar(t.bytes, t.n);
    assert_non_null(tar);
    expect(tar, "a/1.png", "P1", "{\"__key__\":\"a/1\",\"txt\":\"one \\\"\\ufffd\\\"\\n\",\"json\":{\"x\":  NaN}}");
    expect(tar, "b/1.png", "P2", "{\"__key__\":\"b/1\",\"json\":\"{broken\"}");
    expect(tar, "d/\303\251.x.jpg", "P3", "{\"__key__\":\"d/\303\251\"}");
    expect(tar, "../../etc/long.PNG", "P4", "{\"__key__\":\"../../etc/long\"}");
    expect(tar, "only.txt", NULL, "{\"__key__\":\"only\",\"txt\":\"no picture\"}");
    expect(tar, "c.jpg", "P5", "{\"__key__\":\"c\"}");
    expect(tar, "c.jpg", "P6", "{\"__key__\":\"c\"}");
    expect_end(tar);
}

static void test_too_large(void **state) {
    (void)state;
    need_libarchive();
    static tar_text t;
    static const char large[MAX_BYTES + 1];
    t.n = 0;
    put(&t, "large.png", '0', large, sizeof large);
    put(&t, "whole.png", '0', large, MAX_BYTES);
    put_text(&t, "texts.png", "P");
    put(&t, "texts.txt", '0', large, sizeof large);
    end(&t);
    b2_tar *tar = open_tar(t.bytes, t.n);
    expect(tar, "large.png", NULL, "{\"__key__\":\"large\"}");
    expect(tar, "whole.png", large, "{\"__key__\":\"whole\"}");
    expect(tar, "texts.png", NULL, "{\"__key__\":\"texts\"}");
    expect_end(tar);
}

/* ---- damage ---------------------------------------------------------------------------------------------------- */

static void make_samples(tar_text *t) {
    t->n = 0;
    for (int i = 0; i < N_SAMPLES; i++) {
        char name[32], text[32];
        sprintf(text, "picture %d", i);
        sprintf(name, "%02d.png", i);
        put_text(t, name, text);
        sprintf(name, "%02d.txt", i);
        put_text(t, name, "a text");
    }
    end(t);
}

/* Bytes changed, cut out, or put in twice, from a place on; returns the place. */
static size_t damage(tar_text *t, uint64_t *seed) {
    const size_t at = next_below(seed, t->n), n = 1 + next_below(seed, next_below(seed, 2) ? 8 : 2 * BLOCK);
    const size_t len = n < t->n - at ? n : t->n - at;
    switch (next_below(seed, 4)) {
    case 0: t->bytes[at] ^= (uint8_t)(1u << next_below(seed, 8)); break;
    case 1:
        for (size_t i = 0; i < len; i++) t->bytes[at + i] = (uint8_t)next_bits(seed);
        break;
    case 2:
        memmove(t->bytes + at, t->bytes + at + len, t->n - at - len);
        t->n -= len;
        break;
    default: t->n = at;
    }
    return at;
}

/* Every sample that ends before the damage comes once, as it was; what comes after ends. */
static void check_damaged(const tar_text *t, size_t at, size_t n_sample_bytes) {
    b2_tar *tar = open_tar(t->bytes, t->n);
    size_t n = 0, seen[N_SAMPLES] = {0};
    b2_sample s;
    bool has_sample = tar != NULL;
    for (; has_sample; n++) {
        assert_true(n < 4 * N_SAMPLES);
        assert_int_equal(b2_tar_next(tar, &s, &has_sample, NULL), BLIP2_OK);
        if (!has_sample) break;
        assert_true(s.name != NULL && (s.bytes != NULL || s.error.status != BLIP2_OK));
        const int i = s.error.status == BLIP2_OK && s.n_bytes > 8 ? atoi((const char *)s.bytes + 8) : -1;
        if (i >= 0 && i < N_SAMPLES && (size_t)(i + 1) * n_sample_bytes <= at) seen[i]++;
        b2_sample_free(&s);
    }
    b2_tar_close(tar);
    for (size_t i = 0; tar != NULL && i < N_SAMPLES && (i + 1) * n_sample_bytes <= at; i++) assert_true(seen[i] >= 1);
}

static void test_damaged(void **state) {
    (void)state;
    need_libarchive();
    const char *wanted = getenv("TARS");
    const size_t n = wanted != NULL ? (size_t)atol(wanted) : 200, n_sample_bytes = (size_t)4 * BLOCK;
    static tar_text t;
    uint64_t seed = 12;
    for (size_t i = 0; i < n; i++) {
        make_samples(&t);
        const size_t at = damage(&t, &seed);
        check_damaged(&t, at, n_sample_bytes);
    }
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

static bool keep(void *context, const char *name) {
    strcat(strcat(context, name), " ");
    return true;
}

static void test_braces(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"a.tar", "a.tar "},   {"d-{008..011}.tar", "d-008.tar d-009.tar d-010.tar d-011.tar "},
        {"{2..0}", "2 1 0 "},  {"{a,b}-{0..1}", "a-0 a-1 b-0 b-1 "},
        {"open{1", "open{1 "}, {"x{}y", "xy "}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char got[200] = "";
        assert_true(b2_braces_each(cases[i][0], keep, got));
        assert_string_equal(got, cases[i][1]);
    }
    char got[8] = "";
    assert_false(b2_braces_each("{0..99999999}", keep, got));
}

int main(void) {
    const struct CMUnitTest archives[] = {cmocka_unit_test(test_samples), cmocka_unit_test(test_too_large),
                                          cmocka_unit_test(test_damaged), cmocka_unit_test(test_braces)};
    const struct CMUnitTest names[] = {cmocka_unit_test(test_braces)};
    blip2_error err;
    if (b2_tar_check("a.tar", &err) == BLIP2_OK) return cmocka_run_group_tests(archives, make_file, remove_file);
    puts("# SKIP archives: this build reads no tar files (libarchive-dev)");
    return cmocka_run_group_tests(names, make_file, remove_file);
}
