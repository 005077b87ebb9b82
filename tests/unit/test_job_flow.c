/* test_job_flow.c: what a job says about itself (header, decoding), and how pictures go out and records come in (queue,
 * sink, reader), whichever thread is first. */
#include "fixture.h"

#include "base/path.h"
#include "job/reader.h"
#include "job/sink.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- decoding -------------------------------------------------------------------------------------------------- */

typedef struct choices {
    size_t n_beams;
    double temperature;
} choices;

static void test_rows_of_decoding(void **state) {
    (void)state;
    static const b2_decoding_row rows[] = {
        {B2_DECODING_SIZE, offsetof(choices, n_beams), 1, 16, 1, "num_beams", NULL, NULL},
        {B2_DECODING_REAL, offsetof(choices, temperature), 0, 2, 1, "temperature", NULL, NULL}};
    choices c = {.n_beams = 4, .temperature = 0.7}, back;
    json_t *object = json_object();
    b2_decoding_to_json(rows, 2, &c, object);
    assert_true(b2_decoding_from_json(rows, 2, object, &back) && back.n_beams == 4 && back.temperature == 0.7);
    json_object_set_new(object, "temperature", json_integer(2));
    assert_true(b2_decoding_from_json(rows, 2, object, &back) && back.temperature == 2);
    json_object_set_new(object, "temperature", json_real(2.1));
    assert_false(b2_decoding_from_json(rows, 2, object, &back));
    json_object_del(object, "temperature");
    json_object_del(object, "num_beams");
    assert_true(b2_decoding_from_json(rows, 2, object, &back) && back.n_beams == 1 && back.temperature == 1);
    static const char *const wrong[] = {"0", "17", "1.5", "\"4\"", "null"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json_object_set_new(object, "num_beams", json_loads(wrong[i], JSON_DECODE_ANY, NULL));
        assert_false(b2_decoding_from_json(rows, 2, object, &back));
    }
    json_decref(object);
}

/* ---- headers --------------------------------------------------------------------------------------------------- */

static b2_header full_header(void) {
    return (b2_header){.count = 64,
                       .list_hash = 0xFEDCBA9876543210,
                       .model_hash = 0x0123456789ABCDEF,
                       .shard = {3, 16},
                       .spec = {.format = B2_FORMAT_CSV,
                                .has_format = true,
                                .asks = {{.prompt = "a"}, {.question = "b", .column = "c"}, {0}},
                                .n_asks = 3,
                                .decoding = b2_decoding_fallback(),
                                .apply_exif = true,
                                .wants_tokens = true,
                                .background = {10, 11, 12},
                                .reads_truncated = true,
                                .match_lists = "all",
                                .word_files = {"w.txt"},
                                .n_word_files = 1,
                                .match_mode = B2_MATCH_SUBSTRING},
                       .csv = "/data/list.csv",
                       .column = "file",
                       .base_folder = "/data"};
}

static void test_a_header_survives_json(void **state) {
    (void)state;
    b2_header h = full_header(), back;
    h.spec.decoding.max_new_tokens = 7;
    blip2_error err;
    char difference[300];
    json_t *json = b2_header_to_json(&h);
    char *text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
    assert_string_equal(
        text,
        "{\"blip2_journal\":1,\"count\":64,\"list\":\"fedcba9876543210\",\"shard\":[3,16],\"model\":\"0123456789abcdef\","
        "\"options\":{\"format\":\"csv\",\"asks\":[{\"prompt\":\"a\"},{\"question\":\"b\",\"column\":\"c\"},{}],"
        "\"max_new_tokens\":7,\"exif\":true,\"background\":\"0a0b0c\",\"truncated\":true,\"tokens\":true,\"timings\":false,\"report\":false,\"match\":\"all\","
        "\"words\":[\"w.txt\"],\"match_mode\":\"substring\"},\"csv\":\"/data/list.csv\",\"column\":\"file\","
        "\"base_dir\":\"/data\"}");
    assert_int_equal(b2_header_from_json(json, "name", &back, &err), BLIP2_OK);
    assert_true(b2_header_is_same_job(&back, &h, true, difference, sizeof difference));
    assert_string_equal(back.csv, h.csv);
    assert_null(back.jsonl);
    assert_string_equal(back.column, h.column);
    assert_string_equal(back.base_folder, h.base_folder);
    free(text);
    json_decref(json);
}

static void expect_difference(const b2_header *other, const char *want) {
    const b2_header h = full_header();
    char difference[300] = "";
    assert_false(b2_header_is_same_job(other, &h, true, difference, sizeof difference));
    assert_string_equal(difference, want);
}

static void test_what_is_different_is_said(void **state) {
    (void)state;
    b2_header h = full_header();
    char difference[300];
    h.shard = (b2_shard){4, 16};
    expect_difference(&h, "it is shard 4/16, not 3/16");
    const b2_header mine = full_header();
    assert_true(b2_header_is_same_job(&h, &mine, false, difference, sizeof difference));
    h = full_header(), h.count = 63;
    expect_difference(&h, "its list has 63 pictures, not 64");
    h = full_header(), h.list_hash++;
    expect_difference(&h, "its list of pictures is another one");
    h = full_header(), h.model_hash++;
    expect_difference(&h, "its model is another one");
    h = full_header(), h.spec.decoding.max_new_tokens = 7;
    expect_difference(&h, "its max_new_tokens is 7, not 20");
    h = full_header(), h.spec.match_lists = NULL;
    expect_difference(&h, "its match is none, not \"all\"");
    h = full_header(), h.spec.asks[1].column = NULL;
    expect_difference(&h, "its asks is [{\"prompt\":\"a\"},{\"question\":\"b\"},{}], not "
                          "[{\"prompt\":\"a\"},{\"question\":\"b\",\"column\":\"c\"},{}]");
}

/* A journal of an older program lacks keys, one of a later program may have more. */
static void test_headers_of_other_programs(void **state) {
    (void)state;
    static const struct {
        const char *options;
        blip2_status status;
    } cases[] = {{"{\"asks\":[{}]}", BLIP2_OK},
                 {"{\"asks\":[{}],\"num_beams\":4,\"do_sample\":true,\"seed\":\"9007199254740993\"}", BLIP2_OK},
                 {"{\"asks\":[{}],\"num_beam_groups\":4}", BLIP2_FORMAT},
                 {"{\"asks\":[{}],\"num_beams\":65}", BLIP2_FORMAT},
                 {"{\"asks\":[{}],\"do_sample\":1}", BLIP2_FORMAT},
                 {"{\"asks\":[{}],\"seed\":3}", BLIP2_FORMAT},
                 {"{\"asks\":[{}],\"max_new_tokens\":0}", BLIP2_FORMAT},
                 {"{\"asks\":[{}],\"format\":\"xml\"}", BLIP2_FORMAT},
                 {"{\"asks\":[]}", BLIP2_FORMAT},
                 {"{}", BLIP2_FORMAT},
                 {"1", BLIP2_FORMAT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        b2_header h;
        json_t *json = json_pack("{s:i, s:i}", "blip2_journal", 1, "count", 3);
        json_object_set_new(json, "options", json_loads(cases[i].options, JSON_DECODE_ANY, NULL));
        assert_int_equal(b2_header_from_json(json, "name", &h, NULL), cases[i].status);
        if (cases[i].status == BLIP2_OK) assert_int_equal(h.spec.decoding.max_new_tokens, 20);
        json_decref(json);
    }
}

/* ---- the queue ------------------------------------------------------------------------------------------------- */

/* Takes the next picture, if there is one to be had. */
static bool take(b2_queue *q, bool waits, size_t *number) {
    if (!b2_queue_enter(q, waits, number)) return false;
    b2_queue_leave(q, true, false);
    return true;
}

static void test_pictures_of_a_queue(void **state) {
    (void)state;
    b2_queue q;
    size_t number;
    b2_queue_init(&q, 7, 3, 4, 0);
    for (size_t i = 0; i < 4; i++) assert_true(take(&q, i % 2 == 0, &number) && number == i);
    assert_false(take(&q, false, &number)); /* nobody is ahead of the first by more than the window */
    b2_queue_wrote(&q, 1);
    assert_true(take(&q, false, &number) && number == 4);
    assert_false(take(&q, false, &number));
    b2_queue_wrote(&q, 5);
    assert_true(b2_queue_enter(&q, true, &number));
    b2_queue_leave(&q, false, false); /* it has not come yet */
    assert_true(take(&q, true, &number) && number == 5);
    assert_true(take(&q, true, &number) && number == 6);
    assert_false(take(&q, true, &number));
    assert_false(b2_queue_was_stopped(&q));
    b2_queue_free(&q);
    b2_queue_init(&q, 0, 1, 1, 0);
    assert_false(take(&q, true, &number));
    b2_queue_free(&q);
    b2_queue_init(&q, B2_LENGTH_UNKNOWN, 3, 9, 0);
    assert_true(take(&q, true, &number) && number == 0 && q.is_stream);
    assert_true(b2_queue_enter(&q, true, &number));
    b2_queue_leave(&q, false, true);
    assert_true(q.n_items == 1 && !take(&q, true, &number));
    b2_queue_free(&q);
}

static void test_a_queue_stops(void **state) {
    (void)state;
    b2_queue q;
    size_t number;
    b2_queue_init(&q, 7, 3, 7, 1e-9);
    assert_true(b2_queue_is_stopping(&q));
    assert_false(take(&q, true, &number));
    assert_false(b2_queue_was_stopped(&q)); /* what others have finished still has its turn */
    b2_queue_free(&q);
    b2_queue_init(&q, 7, 3, 7, 0);
    blip2_error first, second;
    b2_fail(&first, BLIP2_NO_SPACE, "first");
    b2_fail(&second, BLIP2_IO, "second");
    b2_queue_stop(&q, &first);
    b2_queue_stop(&q, &second);
    assert_false(take(&q, true, &number));
    assert_int_equal(q.why.status, BLIP2_NO_SPACE);
    b2_queue_free(&q);
}

typedef struct waiter {
    b2_queue *queue;
    size_t number;
    bool has_taken;
} waiter;

static void *waiter_main(void *context) {
    waiter *w = context;
    w->has_taken = take(w->queue, true, &w->number);
    return NULL;
}

/* Who waits for the window to move gets its picture, or hears that the job ends. */
static void test_who_is_too_far_ahead_waits(void **state) {
    (void)state;
    for (int is_stopped = 0; is_stopped < 2; is_stopped++) {
        b2_queue q;
        size_t number;
        pthread_t thread;
        waiter w = {.queue = &q};
        b2_queue_init(&q, 3, 1, 1, 0);
        assert_true(take(&q, true, &number));
        assert_int_equal(pthread_create(&thread, NULL, waiter_main, &w), 0);
        usleep(2000);
        if (is_stopped) b2_queue_stop(&q, NULL);
        else b2_queue_wrote(&q, 1);
        pthread_join(thread, NULL);
        assert_true(w.has_taken == !is_stopped);
        if (!is_stopped) assert_int_equal(w.number, 1);
        b2_queue_free(&q);
    }
}

/* ---- the sink -------------------------------------------------------------------------------------------------- */

enum { N_RECORDS = 8 };

typedef struct rig {
    char folder[32], *path;
    b2_job_options options;
    b2_style style;
    b2_plan plan;
    b2_queue queue;
    b2_sink sink;
} rig;

static void set_up(rig *r) {
    *r = (rig){.folder = "/tmp/blip2_sink_XXXXXX",
               .options = {.is_quiet = true, .spec = {.n_asks = 1}},
               .style = {.n_asks = 1, .n_results = 1, .asks = r->options.spec.asks},
               .plan = {.keeps = B2_KEEPS_JOURNAL, .n_todo = N_RECORDS}};
    assert_non_null(mkdtemp(r->folder));
    r->path = b2_path_join(r->folder, "out.part");
    const b2_header header = full_header();
    bool was_there;
    assert_int_equal(b2_journal_begin(r->path, 0666, &header, &was_there, &r->plan.journal, NULL), BLIP2_OK);
    b2_queue_init(&r->queue, N_RECORDS, 1, N_RECORDS, 0);
    assert_int_equal(b2_sink_open(&r->sink, NULL, &r->options, &r->plan, &r->style, &r->queue, NULL), BLIP2_OK);
    b2_progress_start(&r->sink.progress, "pictures", N_RECORDS, true);
}

static void tear_down(rig *r) {
    b2_sink_close(&r->sink);
    b2_queue_free(&r->queue);
    b2_journal_close(&r->plan.journal);
    unlink(r->path);
    rmdir(r->folder);
    free(r->path);
}

typedef struct hand_in {
    rig *rig;
    size_t number;
    bool taken;
} hand_in;

static b2_record record_of(size_t number) {
    b2_record record = {
        .index = number, .path = strdup("x.png"), .answers = calloc(1, sizeof(b2_answer)), .n_answers = 1};
    record.answers[0].text = strdup("x");
    return record;
}

static void *hand_in_main(void *context) {
    hand_in *h = context;
    b2_record record = record_of(h->number);
    h->taken = b2_sink_take(&h->rig->sink, h->number, &record);
    assert_true(record.path == NULL && record.answers == NULL);
    return NULL;
}

/* They are taken out in order and come back in the opposite one. */
static void test_records_come_in_the_order_of_the_list(void **state) {
    (void)state;
    rig r;
    hand_in all[N_RECORDS];
    pthread_t threads[N_RECORDS];
    set_up(&r);
    for (size_t k = 0; k < N_RECORDS; k++) {
        all[k] = (hand_in){.rig = &r};
        assert_true(take(&r.queue, true, &all[k].number));
    }
    for (size_t k = N_RECORDS; k-- > 0;) {
        assert_int_equal(r.sink.n_done, 0);
        assert_int_equal(pthread_create(&threads[k], NULL, hand_in_main, &all[k]), 0);
        pthread_join(threads[k], NULL);
    }
    for (size_t k = 0; k < N_RECORDS; k++) assert_true(all[k].taken);
    assert_true(r.sink.turn == N_RECORDS && r.sink.n_done == N_RECORDS && r.queue.n_written == N_RECORDS);
    uint64_t before = 0;
    b2_record_location places[64] = {0};
    size_t n_twice;
    assert_int_equal(b2_journal_scan(&r.plan.journal, 0, places, 64, &n_twice, NULL), BLIP2_OK);
    for (size_t i = 0; i < N_RECORDS; i++) {
        assert_true(places[i].offset > before);
        before = places[i].offset;
    }
    tear_down(&r);
}

/* A picture was given up, another worker has finished the one before it: that is kept, the one after it is not. */
static void test_what_is_finished_is_kept(void **state) {
    (void)state;
    rig r;
    set_up(&r);
    b2_record early = record_of(2), first = record_of(0);
    b2_queue_stop(&r.queue, NULL);
    assert_false(b2_sink_take(&r.sink, 2, &early));
    assert_false(b2_sink_take(&r.sink, 0, &first)); /* the job stops */
    assert_true(r.sink.turn == 1 && r.sink.n_done == 1);
    tear_down(&r);
}

/* ---- the reader ------------------------------------------------------------------------------------------------ */

enum { N_PIPED = 9, BROKEN = 4 };

/* As a pipe would be: pictures as bytes, how many is not known, and what ends it may be a failure. */
typedef struct pipe_source {
    b2_source source;
    size_t at;
    blip2_status ending;
} pipe_source;

static blip2_status next_of_pipe(b2_source *source, b2_item *item, bool *has_item, blip2_error *err) {
    pipe_source *s = (pipe_source *)source;
    *has_item = s->at < N_PIPED;
    if (!*has_item) return s->ending == BLIP2_OK ? BLIP2_OK : b2_fail(err, s->ending, "the pipe broke");
    char name[16];
    snprintf(name, sizeof name, "picture %zu", s->at);
    *item = (b2_item){.index = s->at, .name = strdup(name)};
    item->bytes = fixture_picture(20 + s->at, 30, s->at, &item->n_bytes);
    if (s->at == BROKEN) item->n_bytes = 9;
    s->at++;
    return BLIP2_OK;
}

static void expect_pictures(const blip2_model *model, blip2_status ending, blip2_status want_end) {
    pipe_source s = {{.n = B2_LENGTH_UNKNOWN, .next = next_of_pipe}, 0, ending};
    const b2_reader_options options = {.n_ahead = 3, .n_threads = 4, .images = {.struct_bytes = sizeof options.images}};
    b2_reader *reader = b2_reader_start(model, &s.source, &options);
    b2_picture picture;
    blip2_error err;
    char name[16];
    assert_non_null(reader);
    for (size_t i = 0; i < N_PIPED; i++) {
        assert_int_equal(b2_reader_take(reader, i, &picture, &err), BLIP2_OK);
        snprintf(name, sizeof name, "picture %zu", i);
        assert_string_equal(picture.name, name);
        assert_int_equal(picture.index, i);
        assert_true((picture.image == NULL) == (i == BROKEN));
        if (i == BROKEN) assert_non_null(strstr(picture.error.message, "picture 4: "));
        blip2_image_free(&picture.image);
        free(picture.name);
    }
    assert_int_equal(b2_reader_take(reader, N_PIPED, &picture, &err), want_end);
    assert_true(b2_reader_stop(reader));
}

static void test_a_source_of_unknown_length(void **state) {
    (void)state;
    char path[] = "/tmp/blip2_reader_XXXXXX";
    const b2_hparams h = fixture_hparams();
    blip2_model *model = NULL;
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && fixture_write_model(path, &h, B2_DTYPE_I8, false));
    assert_int_equal(blip2_model_open(path, &model, NULL), BLIP2_OK);
    expect_pictures(model, BLIP2_OK, BLIP2_LIMIT);
    expect_pictures(model, BLIP2_IO, BLIP2_IO);
    blip2_model_close(&model);
    close(fd);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_of_decoding),           cmocka_unit_test(test_a_header_survives_json),
        cmocka_unit_test(test_what_is_different_is_said),  cmocka_unit_test(test_headers_of_other_programs),
        cmocka_unit_test(test_pictures_of_a_queue),        cmocka_unit_test(test_a_queue_stops),
        cmocka_unit_test(test_who_is_too_far_ahead_waits), cmocka_unit_test(test_records_come_in_the_order_of_the_list),
        cmocka_unit_test(test_what_is_finished_is_kept),   cmocka_unit_test(test_a_source_of_unknown_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
