/* test_image.c: every kind of picture file against Pillow's RGB (tests/golden/image), resizing bit for bit, and what
 * damaged files do: a sentence, never a crash. */
#include "image/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "tests/golden/image/"

typedef struct entry {
    char name[64];
    size_t width, height, offset;
    int rotated;
} entry;

static uint8_t *read_all(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("%s cannot be opened", path);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*n + 1);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

/* Calls check for each line of an index, with the expected pixels. */
static size_t for_each(const char *stem, void (*check)(const entry *e, const uint8_t *want)) {
    char path[128];
    size_t n_bytes, n = 0;
    snprintf(path, sizeof path, FOLDER "%s.bin", stem);
    uint8_t *pixels = read_all(path, &n_bytes);
    snprintf(path, sizeof path, FOLDER "%s.txt", stem);
    FILE *index = fopen(path, "r");
    assert_non_null(index);
    entry e;
    while (fscanf(index, "%63s %zu %zu %d %zu", e.name, &e.width, &e.height, &e.rotated, &e.offset) == 5) {
        assert_true(e.offset + 3 * e.width * e.height <= n_bytes);
        check(&e, pixels + e.offset);
        n++;
    }
    fclose(index);
    free(pixels);
    return n;
}

static void load(const entry *e, b2_picture *picture) {
    char path[128];
    blip2_error err;
    snprintf(path, sizeof path, FOLDER "%s", e->name);
    if (b2_picture_load_file(path, NULL, picture, &err) != BLIP2_OK) fail_msg("%s", err.message);
}

#if B2_HAVE_JPEG
enum { JPEG_TOLERANCE = 0 };
#else
enum { JPEG_TOLERANCE = 12 }; /* stb_image: other rounding, other upsampling */
#endif

static void compare(const entry *e, const b2_picture *got, const uint8_t *want, int tolerance) {
    assert_int_equal(got->width, e->width);
    assert_int_equal(got->height, e->height);
    int worst = 0;
    size_t n_wrong = 0;
    for (size_t i = 0; i < 3 * e->width * e->height; i++) {
        const int d = abs(got->rgb[i] - want[i]);
        worst = d > worst ? d : worst;
        n_wrong += d > tolerance;
    }
    if (worst > 4 * tolerance || n_wrong * 50 > 3 * e->width * e->height * (size_t)(tolerance > 0))
        fail_msg("%s: %zu of %zu values differ from Pillow's, at most by %d", e->name, n_wrong, 3 * e->width * e->height, worst);
}

static int tolerance_of(const entry *e) { return strstr(e->name, ".jpg") != NULL ? JPEG_TOLERANCE : 0; }

static void check_decoded(const entry *e, const uint8_t *want) {
#if !B2_HAVE_JPEG
    if (strstr(e->name, "cmyk") != NULL) return; /* stb_image: another conversion */
#endif
    b2_picture picture;
    load(e, &picture);
    assert_int_equal(picture.rotated, e->rotated);
    compare(e, &picture, want, tolerance_of(e));
    b2_picture_free(&picture);
}

static void test_every_kind_is_pillow_s_rgb(void **state) {
    (void)state;
    assert_true(for_each("index", check_decoded) >= 50);
}

static void check_resized(const entry *e, const uint8_t *want) {
    if (tolerance_of(e) > 0) return;
    b2_picture picture, small;
    load(e, &picture);
    assert_int_equal(b2_picture_resize(&picture, e->width, e->height, &small, NULL), BLIP2_OK);
    compare(e, &small, want, 0);
    b2_picture_free(&picture);
    b2_picture_free(&small);
}

static void test_resize_is_pillow_s_bicubic(void **state) {
    (void)state;
    assert_true(for_each("resized30", check_resized) == 6);
    assert_true(for_each("resized17", check_resized) == 5);
}

static void test_normalise(void **state) {
    (void)state;
    uint8_t rgb[6] = {0, 128, 255, 255, 1, 2};
    const b2_picture picture = {.rgb = rgb, .width = 2, .height = 1};
    const b2_normalisation how = {{0.48145466f, 0.4578275f, 0.40821073f}, {0.26862954f, 0.26130258f, 0.27577711f}};
    float planes[6];
    b2_picture_normalise(&picture, &how, planes);
    /* numpy: (np.float32(u * np.float64(1 / 255)) - mean) / std in float32 */
    const float want[6] = {-1.79226255f, 1.93033612f, 0.168897316f, -1.73708928f, 2.14589691f, -1.45177972f};
    for (int i = 0; i < 6; i++) assert_true(planes[i] == want[i]);
}

/* ---- what is no whole picture ---------------------------------------------------------------------------------------- */

static void check_cut_and_flipped(const entry *e, const uint8_t *want) {
    (void)want;
    char path[128];
    size_t n;
    snprintf(path, sizeof path, FOLDER "%s", e->name);
    uint8_t *bytes = read_all(path, &n);
    b2_picture picture;
    blip2_error err;
    const size_t step = n / 60 + 1;
    for (size_t cut = 0; cut < n; cut += step) { /* a copy of exact size: reads beyond it are seen by the sanitizer */
        uint8_t *part = malloc(cut > 0 ? cut : 1);
        memcpy(part, bytes, cut);
        if (b2_picture_load_memory(part, cut, e->name, NULL, &picture, &err) != BLIP2_OK) assert_true(strncmp(err.message, e->name, strlen(e->name)) == 0);
        b2_picture_free(&picture);
        free(part);
    }
    uint32_t seed = 1;
    for (int i = 0; i < 60; i++) {
        seed = seed * 1664525u + 1013904223u;
        const size_t at = seed % n;
        const uint8_t old = bytes[at];
        bytes[at] ^= (uint8_t)(1u << (seed >> 29));
        const b2_picture_options options = {.apply_exif = true, .max_pixels = 1 << 20};
        b2_picture_load_memory(bytes, n, e->name, &options, &picture, &err);
        b2_picture_free(&picture);
        bytes[at] = old;
    }
    free(bytes);
}

static void test_damaged_files_are_sentences(void **state) {
    (void)state;
    for_each("index", check_cut_and_flipped);
}

static void expect_failure(const char *bytes, size_t n, blip2_status status, const char *words) {
    b2_picture picture;
    blip2_error err = {0};
    assert_int_equal(b2_picture_load_memory((const uint8_t *)bytes, n, "x", NULL, &picture, &err), status);
    if (strstr(err.message, words) == NULL) fail_msg("expected '%s' in: %s", words, err.message);
}

static void test_what_is_no_picture_is_named(void **state) {
    (void)state;
    expect_failure("", 0, BLIP2_FORMAT, "empty");
    expect_failure("<!DOCTYPE html><html>404", 24, BLIP2_FORMAT, "HTML");
    expect_failure("RIFF\0\0\0\0WEBPVP8 ", 16, BLIP2_UNSUPPORTED, "WebP");
    expect_failure("GIF89a\1\0\1\0", 10, BLIP2_UNSUPPORTED, "GIF");
    expect_failure("version https://git-lfs.github.com/spec/v1", 42, BLIP2_FORMAT, "text");
    expect_failure("\1\2\3\4\5\6", 6, BLIP2_FORMAT, "01 02 03");
    expect_failure("P6 99999 99999 255\n", 19, BLIP2_LIMIT, "limit");
    expect_failure("P6 2 2 255\n123", 14, BLIP2_FORMAT, "ends within the pixels");
}

static void test_pixel_limit_comes_before_memory(void **state) {
    (void)state;
    size_t n;
    uint8_t *bytes = read_all(FOLDER "rgb.png", &n);
    const b2_picture_options small = {.apply_exif = true, .max_pixels = 100};
    b2_picture picture;
    assert_int_equal(b2_picture_load_memory(bytes, n, "rgb.png", &small, &picture, NULL), BLIP2_LIMIT);
    assert_null(picture.rgb);
    free(bytes);
}

/* Of two orientations the first counts, as in Pillow 13; signed types and a count of 2 are read, others are not. */
static void test_which_orientation_counts(void **state) {
    (void)state;
    static const struct {
        uint8_t type, count, first, second;
        int orientation;
    } cases[] = {{3, 1, 6, 3, 6}, {3, 1, 1, 3, 1}, {4, 1, 8, 3, 8}, {8, 1, 6, 3, 6}, {9, 1, 5, 3, 5}, {3, 2, 7, 3, 7},
                 {3, 3, 6, 3, 3}, {3, 0, 6, 3, 3}, {4, 2, 6, 3, 3}, {1, 1, 6, 3, 3}, {3, 1, 9, 3, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint8_t block[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 2, 0,
                                 0x12, 1, cases[i].type, 0, cases[i].count, 0, 0, 0, cases[i].first, 0, 0, 0,
                                 0x12, 1, 3, 0, 1, 0, 0, 0, cases[i].second, 0, 0, 0};
        assert_int_equal(b2_exif_find_orientation(block, sizeof block), cases[i].orientation);
        b2_exif_find_orientation(block, 20); /* cut inside an entry */
    }
}

static void test_exif_can_be_ignored(void **state) {
    (void)state;
    const b2_picture_options as_stored = {.apply_exif = false};
    b2_picture picture;
    assert_int_equal(b2_picture_load_file(FOLDER "exif6.jpg", &as_stored, &picture, NULL), BLIP2_OK);
    assert_false(picture.rotated);
    assert_int_equal(picture.width, 24);
    b2_picture_free(&picture);
}

/* A file header, a header of 40 bytes, two palette entries where bits is 8, then data. Returns the length. */
static size_t make_bmp(uint8_t *out, uint8_t width, uint8_t height, uint8_t bits, uint8_t compression, const char *data,
                       size_t n) {
    static const uint8_t palette[8] = {0, 0, 0, 0, 30, 20, 10, 0};
    const size_t n_palette = bits == 8 ? sizeof palette : 0;
    memset(out, 0, 54);
    memcpy(out, "BM", 2);
    out[10] = (uint8_t)(54 + n_palette);
    out[14] = 40;
    out[18] = width;
    out[22] = height;
    out[26] = 1;
    out[28] = bits;
    out[30] = compression;
    out[46] = bits == 8 ? 2 : 0;
    memcpy(out + 54, palette, n_palette);
    memcpy(out + 54 + n_palette, data, n);
    return 54 + n_palette + n;
}

/* One pixel of 24 bits is a whole file of 58 bytes, shorter than a header with masks. */
static void test_smallest_bmp(void **state) {
    (void)state;
    uint8_t bytes[80];
    b2_picture picture;
    for (size_t cut = 0; cut < 2; cut++) {
        const size_t n = make_bmp(bytes, 1, 1, 24, 0, "\3\2\1\0", 4) - 2 * cut; /* the padding may be missing, colours not */
        assert_int_equal(b2_picture_load_memory(bytes, n, "x", NULL, &picture, NULL), cut == 0 ? BLIP2_OK : BLIP2_FORMAT);
        if (cut == 0) assert_memory_equal(picture.rgb, "\1\2\3", 3);
        b2_picture_free(&picture);
    }
}

/* Run lengths, from the bottom: a row of ones, a row without any, a row of ones: the empty one must not be lost. */
static void test_empty_row_of_runs(void **state) {
    (void)state;
    uint8_t bytes[128];
    b2_picture picture;
    const size_t n = make_bmp(bytes, 2, 3, 8, 1, "\2\1\0\0\0\0\2\1\0\1", 10);
    assert_int_equal(b2_picture_load_memory(bytes, n, "x", NULL, &picture, NULL), BLIP2_OK);
    for (size_t y = 0; y < 3; y++) assert_memory_equal(picture.rgb + 6 * y, y == 1 ? "\0\0\0\0\0\0" : "\12\24\36\12\24\36", 6);
    b2_picture_free(&picture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_is_pillow_s_rgb),   cmocka_unit_test(test_resize_is_pillow_s_bicubic),
        cmocka_unit_test(test_normalise),                    cmocka_unit_test(test_damaged_files_are_sentences),
        cmocka_unit_test(test_what_is_no_picture_is_named),  cmocka_unit_test(test_pixel_limit_comes_before_memory),
        cmocka_unit_test(test_exif_can_be_ignored),          cmocka_unit_test(test_smallest_bmp),
        cmocka_unit_test(test_empty_row_of_runs),            cmocka_unit_test(test_which_orientation_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
