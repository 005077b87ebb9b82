/* test_image.c: every kind of picture file against Pillow's RGB (tests/golden/image), resizing bit for bit, and what
 * damaged files do: a sentence, never a crash. */
#include "image/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* 0 where the build lacks the library */
#ifndef B2_HAVE_WEBP
#define B2_HAVE_WEBP 0
#endif
#ifndef B2_HAVE_GIF
#define B2_HAVE_GIF 0
#endif

#define FOLDER "tests/golden/image/"

typedef struct entry {
    char name[64];
    size_t width, height; /* 0: the file is refused */
    int rotated, tolerance;
    size_t offset;
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

/* ---- what this build can decode, and how exactly ---- */

static inline bool ends_in(const char *name, const char *ending) {
    const size_t n = strlen(name), m = strlen(ending);
    return n >= m && strcmp(name + n - m, ending) == 0;
}

static bool is_readable(const entry *e) {
    bool is_read;
    (void)ends_in; /* not used where every library is there */
    b2_picture_kind_of_name(e->name, &is_read);
#if !B2_HAVE_JPEG
    if (strstr(e->name, "CMYK") != NULL || strstr(e->name, "jpeg-cut") != NULL) return false;
    if (strstr(e->name, "padded") != NULL || strstr(e->name, "crlf") != NULL) return false; /* need an end mark */
#endif
#if !B2_HAVE_SPNG
    const bool is_cut = strstr(e->name, "png-cut") != NULL && strstr(e->name, "0.") != NULL;
    if (strstr(e->name, "few-rows") != NULL) return false; /* refused */
    if (is_cut || ends_in(e->name, "16t.png") || ends_in(e->name, "16it.png")) return false;
    if (strncmp(e->name, "png-0-", 6) == 0 && strstr(e->name, "t.png") != NULL)
        return false; /* scaled before compared */
#endif
    return is_read;
}

/* stb_image: other rounding, other upsampling */
static int tolerance_of(const entry *e) {
#if !B2_HAVE_JPEG
    if (ends_in(e->name, ".jpg")) return 12;
#endif
    return e->tolerance;
}

/* Calls check for each line of an index, with the expected pixels. */
static size_t for_each(const char *stem, const b2_picture_options *options,
                       void (*check)(const entry *e, const b2_picture_options *options, const uint8_t *want)) {
    char path[128];
    size_t n_bytes, n = 0;
    snprintf(path, sizeof path, FOLDER "%s.bin", stem);
    uint8_t *pixels = read_all(path, &n_bytes);
    snprintf(path, sizeof path, FOLDER "%s.txt", stem);
    FILE *index = fopen(path, "r");
    assert_non_null(index);
    entry e;
    while (fscanf(index, "%63s %zu %zu %d %zu %d", e.name, &e.width, &e.height, &e.rotated, &e.offset, &e.tolerance) ==
           6) {
        assert_true(e.offset + 3 * e.width * e.height <= n_bytes);
        check(&e, options, pixels + e.offset);
        n++;
    }
    fclose(index);
    free(pixels);
    return n;
}

static blip2_status load(const char *name, const b2_picture_options *options, b2_picture *picture, blip2_error *err) {
    char path[128];
    snprintf(path, sizeof path, FOLDER "%s", name);
    return b2_picture_load_file(path, options, picture, err);
}

static void compare(const char *name, const b2_picture *got, const uint8_t *want, int tolerance) {
    int worst = 0;
    size_t n_wrong = 0, sum = 0;
    const size_t n = 3 * got->width * got->height;
    for (size_t i = 0; i < n; i++) {
        const int d = abs(got->rgb[i] - want[i]);
        worst = d > worst ? d : worst;
        sum += (size_t)d;
        n_wrong += d > 0;
    }
    if (worst > 4 * tolerance || sum > n * (size_t)(tolerance > 8 ? 4 : tolerance > 0))
        fail_msg("%s: %zu of %zu values differ from Pillow's, at most by %d", name, n_wrong, n, worst);
}

static void check_decoded(const entry *e, const b2_picture_options *options, const uint8_t *want) {
    if (!is_readable(e)) return;
    b2_picture picture;
    blip2_error err;
    const blip2_status status = load(e->name, options, &picture, &err);
    if (e->width == 0) {
        if (status == BLIP2_OK) fail_msg("%s: was read, Pillow refuses it", e->name);
        return;
    }
    if (status != BLIP2_OK) fail_msg("%s", err.message);
    assert_int_equal(picture.rotated, e->rotated);
    assert_int_equal(picture.width, e->width);
    assert_int_equal(picture.height, e->height);
    compare(e->name, &picture, want, tolerance_of(e));
    b2_picture_free(&picture);
}

static void test_every_kind_is_pillow_s_rgb(void **state) {
    (void)state;
    assert_true(for_each("index", NULL, check_decoded) >= 150);
}

static void test_truncated_files_are_pillow_s(void **state) {
    (void)state;
    b2_picture_options options = b2_picture_options_default();
    options.read_truncated = true;
    assert_true(for_each("cut", &options, check_decoded) >= 30);
}

/* resized.txt: name, side, orientation, offset. The same rows top down and bottom up, upright and as each orientation
 * stores them: always the bits of Pillow's resize of the turned picture. */
static void test_resize_is_pillow_s_bicubic(void **state) {
    (void)state;
    size_t n_bytes, n = 0, side, offset;
    int orientation;
    char name[64];
    uint8_t *pixels = read_all(FOLDER "resized.bin", &n_bytes);
    FILE *index = fopen(FOLDER "resized.txt", "r");
    assert_non_null(index);
    while (fscanf(index, "%63s %zu %d %zu", name, &side, &orientation, &offset) == 4) {
        b2_picture stored, small;
        b2_pixels turned = {0};
        assert_int_equal(load(name, NULL, &stored, NULL), BLIP2_OK);
        for (int bottom_up = 0; bottom_up < 2; bottom_up++) {
            const b2_row_order order = {stored.width, stored.height, orientation, bottom_up};
            b2_reducer *r = b2_reducer_create(&order, side, side);
            for (size_t y = 0; y < stored.height; y++)
                b2_reducer_put(r, stored.rgb + 3 * stored.width * (bottom_up ? stored.height - 1 - y : y));
            turned = b2_reducer_take(r);
            b2_reducer_free(r);
            assert_true(b2_pixels_orient(&turned, orientation));
            assert_memory_equal(turned.rgb, pixels + offset, 3 * side * side);
            free(turned.rgb);
        }
        if (orientation == 1) {
            assert_int_equal(b2_picture_resize(&stored, side, side, &small, NULL), BLIP2_OK);
            assert_memory_equal(small.rgb, pixels + offset, 3 * side * side);
            b2_picture_free(&small);
        }
        b2_picture_free(&stored);
        n++;
    }
    fclose(index);
    free(pixels);
    assert_int_equal(n, 48);
}

/* A square that is made while rows are decoded is the square of the whole picture, whatever the decoder. */
static void check_square(const entry *e, const b2_picture_options *options, const uint8_t *want) {
    (void)want;
    if (!is_readable(e) || e->width == 0) return;
    b2_picture_options small = *options;
    small.square = 20;
    small.thumbnail_side = 9;
    b2_picture whole, square, expected;
    assert_int_equal(load(e->name, options, &whole, NULL), BLIP2_OK);
    assert_int_equal(load(e->name, &small, &square, NULL), BLIP2_OK);
    assert_int_equal(b2_picture_resize(&whole, 20, 20, &expected, NULL), BLIP2_OK);
    assert_int_equal(square.rotated, e->rotated);
    assert_memory_equal(square.rgb, expected.rgb, 3 * 20 * 20);
    b2_picture_free(&expected);
    const size_t w = square.thumbnail.width, h = square.thumbnail.height;
    assert_true(w <= 9 && h <= 9 && (w > h) == (w != h && e->width > e->height));
    assert_int_equal(b2_picture_resize(&whole, w, h, &expected, NULL), BLIP2_OK);
    assert_memory_equal(square.thumbnail.rgb, expected.rgb, 3 * w * h);
    b2_picture_free(&expected);
    b2_picture_free(&whole);
    b2_picture_free(&square);
}

static void test_square_while_decoding(void **state) {
    (void)state;
    b2_picture_options options = b2_picture_options_default();
    for_each("index", &options, check_square);
    options.read_truncated = true;
    for_each("cut", &options, check_square);
}

/* Over white, over a colour, hidden colours kept: of a PNG whose first pixel is transparent. */
static void test_background(void **state) {
    (void)state;
    b2_picture white, black, kept;
    b2_picture_options options = b2_picture_options_default();
    assert_int_equal(load("png-one-clear.png", &options, &white, NULL), BLIP2_OK);
    memset(options.background, 7, 3);
    assert_int_equal(load("png-one-clear.png", &options, &black, NULL), BLIP2_OK);
    options.keep_hidden = true;
    assert_int_equal(load("png-one-clear.png", &options, &kept, NULL), BLIP2_OK);
    size_t n_clear = 0;
    for (size_t i = 0; i < white.width * white.height; i++) {
        const uint8_t *w = white.rgb + 3 * i, *b = black.rgb + 3 * i, *k = kept.rgb + 3 * i;
        const bool is_clear = memcmp(b, "\7\7\7", 3) == 0;
        n_clear += is_clear;
        assert_memory_equal(w, is_clear ? (const uint8_t *)"\377\377\377" : k, 3);
        if (is_clear) assert_memory_not_equal(k, b, 3);
    }
    assert_true(n_clear > 0 && n_clear < white.width * white.height / 2);
    b2_picture_free(&white);
    b2_picture_free(&black);
    b2_picture_free(&kept);
}

/* Half transparent over a background: rounded as Pillow's alpha_composite rounds. */
static void test_blending(void **state) {
    (void)state;
    b2_picture_options options = b2_picture_options_default();
    for (int alpha = 0; alpha < 256; alpha++)
        for (int value = 0; value < 256; value += 5) {
            const uint8_t rgba[4] = {(uint8_t)value, 0, 255, (uint8_t)alpha};
            uint8_t rgb[3];
            b2_blend_rgba(&options, rgba, 1, rgb);
            const uint32_t precise =
                ((uint32_t)value * (uint32_t)alpha + 255u * (uint32_t)(255 - alpha)) * 128 + 0x4000;
            assert_int_equal(rgb[0], (((precise >> 8) + precise) >> 8) >> 7);
            assert_int_equal(rgb[2], 255);
        }
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

/* ---- what is no whole picture ---------------------------------------------------------------------------------- */

static void check_cut_and_flipped(const entry *e, const b2_picture_options *given, const uint8_t *want) {
    (void)want;
    if (!is_readable(e)) return;
    char path[128];
    size_t n;
    snprintf(path, sizeof path, FOLDER "%s", e->name);
    uint8_t *bytes = read_all(path, &n);
    b2_picture picture;
    blip2_error err;
    const size_t step = n / 20 + 1;
    for (size_t cut = 0; cut < n; cut += step) { /* a copy of exact size: reads beyond it are seen by the sanitizer */
        uint8_t *part = malloc(cut > 0 ? cut : 1);
        memcpy(part, bytes, cut);
        if (b2_picture_load_memory(part, cut, e->name, given, &picture, &err) != BLIP2_OK)
            assert_true(strncmp(err.message, e->name, strlen(e->name)) == 0);
        b2_picture_free(&picture);
        free(part);
    }
    uint32_t seed = 1;
    for (int i = 0; i < 20; i++) {
        seed = seed * 1664525u + 1013904223u;
        const size_t at = seed % n;
        const uint8_t old = bytes[at];
        bytes[at] ^= (uint8_t)(1u << (seed >> 29));
        b2_picture_options options = *given;
        options.max_pixels = 1 << 20;
        b2_picture_load_memory(bytes, n, e->name, &options, &picture, &err);
        b2_picture_free(&picture);
        bytes[at] = old;
    }
    free(bytes);
}

static void test_damaged_files_are_sentences(void **state) {
    (void)state;
    b2_picture_options options = b2_picture_options_default();
    for_each("index", &options, check_cut_and_flipped);
    options.read_truncated = true;
    options.square = 16;
    for_each("index", &options, check_cut_and_flipped);
}

static void test_names_of_pictures(void **state) {
    (void)state;
    bool is_read;
    assert_string_equal(b2_picture_kind_of_name("a/B.JPEG", &is_read), "JPEG");
    assert_true(is_read);
    assert_string_equal(b2_picture_kind_of_name("x.webp", &is_read), "WebP");
    assert_int_equal(is_read, B2_HAVE_WEBP);
    assert_string_equal(b2_picture_kind_of_name("x.psd", &is_read), "PSD");
    assert_false(is_read);
    static const char *const others[] = {"x.txt", "x.jp", "jpg", "a.jpg/b", "a."};
    for (size_t i = 0; i < 5; i++) assert_null(b2_picture_kind_of_name(others[i], &is_read));
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
    expect_failure("RIFF\0\0\0\0WEBPVP8 ", 16, B2_HAVE_WEBP ? BLIP2_FORMAT : BLIP2_UNSUPPORTED, "WebP");
    expect_failure("GIF89a\1\0\1\0", 10, B2_HAVE_GIF ? BLIP2_FORMAT : BLIP2_UNSUPPORTED, "GIF");
    expect_failure("version https://git-lfs.github.com/spec/v1", 42, BLIP2_FORMAT, "git lfs pull");
    expect_failure("8BPS\0\1", 6, BLIP2_UNSUPPORTED, "Photoshop");
    expect_failure("II*\0\20\0\0\0CR\2\0", 12, BLIP2_UNSUPPORTED, "Canon raw");
    expect_failure("FUJIFILMCCD-RAW 0201", 20, BLIP2_UNSUPPORTED, "Fujifilm raw");
    expect_failure("\0\0\0\30ftypcrx \0\0", 14, BLIP2_UNSUPPORTED, "CR3");
    expect_failure("\1\2\3\4\5\6", 6, BLIP2_FORMAT, "01 02 03");
    expect_failure("P6 99999 99999 255\n", 19, BLIP2_LIMIT, "limit");
    expect_failure("P6 2 2 255\n123", 14, BLIP2_FORMAT, "ends within the pixels");
}

static void test_pixel_limit_comes_before_memory(void **state) {
    (void)state;
    size_t n;
    uint8_t *bytes = read_all(FOLDER "png-many-parts.png", &n);
    const b2_picture_options small = {.apply_exif = true, .max_pixels = 100};
    b2_picture picture;
    assert_int_equal(b2_picture_load_memory(bytes, n, "png-many-parts.png", &small, &picture, NULL), BLIP2_LIMIT);
    assert_null(picture.rgb);
    free(bytes);
}

/* A few bytes that claim much: refused before memory is taken, or done in little. */
static void test_bombs(void **state) {
    (void)state;
    expect_failure("P5 268435455 1 255\n", 19, BLIP2_LIMIT, "a side");
    expect_failure("P5 16000 16000 255\n", 19, BLIP2_FORMAT, "ends within");
    uint8_t bmp[64] = "BM";
    bmp[10] = 62, bmp[14] = 40, bmp[26] = 1, bmp[28] = 8, bmp[30] = 1, bmp[46] = 2;
    bmp[19] = 0x3F, bmp[23] = 0x3F; /* 16128 x 16128, run-length coded, at once at its end */
    bmp[62] = 0, bmp[63] = 1;
    b2_picture picture;
    b2_picture_options options = b2_picture_options_default();
    options.square = 8;
    assert_int_equal(b2_picture_load_memory(bmp, sizeof bmp, "x", &options, &picture, NULL), BLIP2_OK);
    b2_picture_free(&picture);
    options.max_side = 16000;
    size_t n;
    uint8_t *jpeg = read_all(FOLDER "jpeg-exif6.jpg", &n), *frame = jpeg;
    while (frame[0] != 0xFF || frame[1] != 0xC0) frame++;
    frame[5] = frame[7] = 0x3E; /* nearly 16000 x 16000 */
    assert_int_equal(b2_picture_load_memory(jpeg, n, "x", &options, &picture, NULL), BLIP2_FORMAT);
    frame[5] = frame[7] = 0;
    while (frame[0] != 0xFF || frame[1] != 0xC4) frame++;
    memset(frame + 5, 255, 2); /* a Huffman table of more codes than there are bytes */
    assert_int_equal(b2_picture_load_memory(jpeg, n, "x", &options, &picture, NULL), BLIP2_FORMAT);
    free(jpeg);
    assert_int_equal(b2_picture_load_memory(bmp, sizeof bmp, "x", &options, &picture, NULL), BLIP2_LIMIT);
}

static void test_hints(void **state) {
    (void)state;
    b2_picture picture;
    assert_int_equal(b2_picture_load_memory((const uint8_t *)"P5 1 1 65535\n\1\2", 15, "x", NULL, &picture, NULL),
                     BLIP2_OK);
    assert_non_null(strstr(picture.hint, "16-bit grey"));
    b2_picture_free(&picture);
    assert_int_equal(load("png-many-parts.png", NULL, &picture, NULL), BLIP2_OK);
    assert_null(picture.hint);
    b2_picture_free(&picture);
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
        uint8_t block[34] = "II*\0\10\0\0\0\2\0\22\1\3\0\0\0\0\0\0\0\0\0\22\1\3\0\1";
        block[12] = cases[i].type, block[14] = cases[i].count, block[18] = cases[i].first, block[30] = cases[i].second;
        assert_int_equal(b2_exif_find_orientation(block, sizeof block), cases[i].orientation);
        b2_exif_find_orientation(block, 20); /* cut inside an entry */
    }
}

static void test_exif_can_be_ignored(void **state) {
    (void)state;
    const b2_picture_options as_stored = {.apply_exif = false};
    b2_picture picture;
    assert_int_equal(b2_picture_load_file(FOLDER "jpeg-exif6.jpg", &as_stored, &picture, NULL), BLIP2_OK);
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
        const size_t n =
            make_bmp(bytes, 1, 1, 24, 0, "\3\2\1\0", 4) - 2 * cut; /* the padding may be missing, colours not */
        assert_int_equal(b2_picture_load_memory(bytes, n, "x", NULL, &picture, NULL),
                         cut == 0 ? BLIP2_OK : BLIP2_FORMAT);
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
    for (size_t y = 0; y < 3; y++)
        assert_memory_equal(picture.rgb + 6 * y, y == 1 ? "\0\0\0\0\0\0" : "\12\24\36\12\24\36", 6);
    b2_picture_free(&picture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_is_pillow_s_rgb),
        cmocka_unit_test(test_truncated_files_are_pillow_s),
        cmocka_unit_test(test_resize_is_pillow_s_bicubic),
        cmocka_unit_test(test_square_while_decoding),
        cmocka_unit_test(test_background),
        cmocka_unit_test(test_blending),
        cmocka_unit_test(test_names_of_pictures),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_damaged_files_are_sentences),
        cmocka_unit_test(test_what_is_no_picture_is_named),
        cmocka_unit_test(test_pixel_limit_comes_before_memory),
        cmocka_unit_test(test_exif_can_be_ignored),
        cmocka_unit_test(test_smallest_bmp),
        cmocka_unit_test(test_empty_row_of_runs),
        cmocka_unit_test(test_which_orientation_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
