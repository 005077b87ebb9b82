/* test_session.c MODEL PICTURE TOKENS WHAT: captions with layers on the fake device (fake_cuda.cpp) against captions of
 * the CPU alone: ids, log-probabilities, logits and what on_token hears, bit for bit.
 *
 *   layers       every number of layers, every order of threads and copies, several sizes of memory
 *   some         none, one, half and all layers, three sizes of memory
 *   door         what refuses at once: no device, old cards and drivers, no memory; each leaves one sentence
 *   fail STEP    every STEP-th call of a run fails, with two codes, for 1, half and all layers
 *   fail-last S  the same for all layers only
 *   fail-all     every call, for every number of layers
 *   share        several sessions at once, on threads, on one copy of the weights
 *   hang         the device falls silent half-way
 *   fork         a child does not use the parent's device */
#include "blip2.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REQUESTS = 2, MAX_TOKENS = 32, BEAMS = 2 };

typedef struct answer {
    size_t n[REQUESTS], n_logits, n_heard;
    int32_t ids[REQUESTS][MAX_TOKENS], heard[REQUESTS * MAX_TOKENS];
    float logprobs[REQUESTS][MAX_TOKENS];
    float *logits[REQUESTS];
    int32_t beams[REQUESTS][BEAMS][MAX_TOKENS];
    double scores[REQUESTS][BEAMS];
    blip2_ending ending[REQUESTS];
    blip2_device device; /* after the run */
} answer;

static blip2_model *model;
static blip2_image *image;
static size_t n_tokens = 4;
static answer expected;
static int n_runs, n_different, n_on_cpu;
static long (*reset)(void);
static size_t (*held)(void);

static void die(const char *what, const blip2_error *err) {
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(3);
}

/* ---- one run --------------------------------------------------------------------------------------------------- */

static bool hear(void *context, size_t request, size_t rank, int32_t id, const char *text) {
    answer *a = context;
    (void)rank, (void)text;
    a->heard[a->n_heard++] = id + (int32_t)(100000 * request);
    return !(request == 1 && a->n_heard >= 4); /* the second request ends early */
}

/* Two requests about one picture, whose soft tokens are stored once, with beams that share their prompts. */
static void run_beams(blip2_session *s, answer *a) {
    const blip2_request requests[REQUESTS] = {{.image = 0, .prompt = "a b"}, {.image = 0}};
    blip2_error err;
    blip2_decoding d;
    blip2_decoding_default(&d);
    d.num_beams = d.num_return_sequences = BEAMS;
    if (blip2_session_generate(s, requests, REQUESTS, &d, &err) != BLIP2_OK) die("beams", &err);
    for (size_t i = 0; i < REQUESTS; i++)
        for (size_t k = 0; k < BEAMS; k++) {
            blip2_result r = {.struct_bytes = sizeof r};
            if (!blip2_session_result(s, i, k, &r)) abort();
            memcpy(a->beams[i][k], r.tokens, r.n_tokens * sizeof *r.tokens);
            a->scores[i][k] = r.score;
        }
}

/* Session, two pictures, two requests. layers as in blip2_session_options. */
static void run(int layers, int timeout_s, answer *a) {
    blip2_session_options o;
    blip2_session *s;
    blip2_error err;
    blip2_session_options_default(&o);
    o.n_threads = 2;
    o.max_images = o.max_requests = REQUESTS;
    o.max_prompt_tokens = 16;
    o.max_new_tokens = n_tokens;
    o.keeps_logits = true;
    o.max_results = BEAMS;
    o.gpu_layers = layers;
    o.gpu_timeout_s = timeout_s;
    memset(a, 0, sizeof *a);
    a->device.struct_bytes = sizeof a->device;
    if (blip2_session_create(model, &o, &s, &err) != BLIP2_OK) die("session", &err);
    blip2_image *const images[REQUESTS] = {image, image};
    const blip2_request requests[REQUESTS] = {{.image = 0}, {.image = 1, .prompt = "a"}};
    blip2_decoding d;
    blip2_decoding_default(&d);
    d.on_token = hear;
    d.token_context = a;
    if (blip2_session_encode(s, images, REQUESTS, &err) != BLIP2_OK) die("encode", &err);
    if (blip2_session_generate(s, requests, REQUESTS, &d, &err) != BLIP2_OK) die("generate", &err);
    for (size_t i = 0; i < REQUESTS; i++) {
        blip2_result r = {.struct_bytes = sizeof r};
        if (!blip2_session_result(s, i, 0, &r)) abort();
        a->n[i] = r.n_tokens;
        a->ending[i] = r.ending;
        memcpy(a->ids[i], r.tokens, r.n_tokens * sizeof *r.tokens);
        memcpy(a->logprobs[i], r.token_logprobs, r.n_tokens * sizeof *r.token_logprobs);
        const float *logits = blip2_session_logits(s, i, 0, &a->n_logits);
        a->logits[i] = malloc(a->n_logits * sizeof *logits);
        memcpy(a->logits[i], logits, a->n_logits * sizeof *logits);
    }
    run_beams(s, a);
    blip2_session_device(s, &a->device);
    blip2_session_free(&s);
}

static void forget(answer *a) {
    for (size_t i = 0; i < REQUESTS; i++) free(a->logits[i]);
}

static bool is_same(const answer *a, const answer *b) {
    bool same = memcmp(a->n, b->n, sizeof a->n) == 0 && a->n_heard == b->n_heard && a->n_logits == b->n_logits &&
                memcmp(a->ids, b->ids, sizeof a->ids) == 0 && memcmp(a->heard, b->heard, sizeof a->heard) == 0 &&
                memcmp(a->logprobs, b->logprobs, sizeof a->logprobs) == 0 &&
                memcmp(a->ending, b->ending, sizeof a->ending) == 0 &&
                memcmp(a->beams, b->beams, sizeof a->beams) == 0 && memcmp(a->scores, b->scores, sizeof a->scores) == 0;
    for (size_t i = 0; same && i < REQUESTS; i++)
        same = memcmp(a->logits[i], b->logits[i], a->n_logits * sizeof(float)) == 0;
    return same;
}

static void judge(const char *what, const answer *a) {
    n_runs++;
    n_on_cpu += a->device.n_layers == 0;
    if (is_same(a, &expected)) return;
    n_different++;
    printf("DIFFERENT %s: %s\n", what, a->device.reason);
}

static void complain(const char *what, const char *reason) {
    n_different++;
    printf("WRONG %s: \"%s\"\n", what, reason);
}

/* A run that must give the same answer and give everything back. Returns its number of calls. */
static long check(const char *what, int layers, blip2_device *device) {
    answer a;
    reset();
    run(layers, 60, &a);
    judge(what, &a);
    if (getenv("FAKE_CUDA_FAIL") == NULL && held() != 0) complain(what, "device memory was not given back");
    if (device != NULL) *device = a.device;
    forget(&a);
    return reset();
}

/* The model anew: a device that has failed is not used again by the sessions of that model. */
static const char *model_path;
static void reopen(void) {
    blip2_error err;
    blip2_model_close(&model);
    if (blip2_model_open(model_path, &model, &err) != BLIP2_OK) die("model", &err);
}

static void set(const char *name, const char *value) {
    if (value != NULL) setenv(name, value, 1);
    else unsetenv(name);
}

static int count_layers(void) {
    blip2_device device;
    check("all layers", BLIP2_GPU_AUTO, &device);
    return (int)device.n_layers_all;
}

/* ---- what is tried --------------------------------------------------------------------------------------------- */

/* A quarter stays free, and the session's own memory comes first: sizes between nothing and everything. */
static void try_sizes(int all, int step) {
    blip2_device device;
    char what[64];
    check("sizes", all, &device);
    const uint64_t whole = (device.weight_bytes + device.session_bytes + (1 << 18)) * 4 / 3;
    size_t before = 0;
    for (int percent = 10; percent <= 130; percent += step) {
        char bytes[32];
        snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)(whole * (uint64_t)percent / 100));
        set("FAKE_CUDA_VRAM", bytes);
        snprintf(what, sizeof what, "%d %% of the memory", percent);
        check(what, percent % 2 == 0 ? all : BLIP2_GPU_AUTO, &device);
        if (device.n_layers < before || (device.n_layers < (size_t)all) != (device.reason[0] != '\0'))
            complain(what, device.reason);
        if (percent >= 115 && device.n_layers != (size_t)all) complain(what, device.reason);
        before = device.n_layers;
    }
    set("FAKE_CUDA_VRAM", NULL);
}

static void try_layers(void) {
    const int all = count_layers();
    static const char *const orders[] = {"0", "7", "8", "15"};
    char what[64];
    blip2_device device;
    for (int o = 0; o < 4; o++) {
        set("FAKE_CUDA_ORDER", orders[o]);
        for (int n = 0; n <= all; n++) {
            snprintf(what, sizeof what, "%d layers, order %s", n, orders[o]);
            check(what, n, &device);
            if ((int)device.n_layers != n || device.reason[0] != '\0') complain(what, device.reason);
        }
    }
    set("FAKE_CUDA_ORDER", NULL);
    set("FAKE_CUDA_PROTECT", "1");
    check("protected memory", all, NULL);
    set("FAKE_CUDA_PROTECT", NULL);
    try_sizes(all, 15);
}

static void try_some(void) {
    const int all = count_layers(), some[] = {0, 1, all / 2, all};
    for (int i = 0; i < 4; i++) check("some layers", some[i], NULL);
    try_sizes(all, 52);
}

static void refuse(const char *name, const char *value, const char *sentence) {
    blip2_device device;
    set(name, value);
    check(sentence, BLIP2_GPU_AUTO, &device);
    if (device.n_layers != 0 || strstr(device.reason, sentence) == NULL) complain(sentence, device.reason);
    set(name, NULL);
}

static void try_door(void) {
    refuse("FAKE_CUDA_DEVICES", "0", "no CUDA-capable device is detected (100)");
    refuse("FAKE_CUDA_DRIVER", "9020", "the NVIDIA driver is too old: expected one for CUDA 10.2 or newer, got 9.2");
    refuse("FAKE_CUDA_CC", "52", "is too old: expected compute capability 6.1 or newer, got 5.2");
    refuse("FAKE_CUDA_VRAM", "65536", "memory");
    refuse("FAKE_CUDA_FAIL", "1:34", "stub library (34)");
    refuse("FAKE_CUDA_FAIL", "1:999", "(999)");
    set("FAKE_CUDA_DRIVER", "10020"); /* PTX 7.0 is too new for it */
    refuse("FAKE_CUDA_CC", "80", "unsupported toolchain. (222)");
    set("FAKE_CUDA_CC", "61"); /* the text for old cards is not */
    blip2_device device;
    check("driver 10.2 and compute capability 6.1", BLIP2_GPU_AUTO, &device);
    if (device.n_layers != device.n_layers_all) complain("driver 10.2", device.reason);
    set("FAKE_CUDA_CC", NULL);
    set("FAKE_CUDA_DRIVER", NULL);
}

static void fail_at(int layers, long call, int code) {
    char fail[32], what[64];
    blip2_device device;
    snprintf(fail, sizeof fail, "%ld:%d", call, code);
    snprintf(what, sizeof what, "%d layers, call %ld fails with %d", layers, call, code);
    set("FAKE_CUDA_FAIL", fail);
    check(what, layers, &device);
    set("FAKE_CUDA_FAIL", NULL);
    reopen();
}

/* which: 'a' all numbers of layers, 's' some of them, 'l' the last one: all layers */
static void try_failures(char which, long step) {
    const int all = count_layers();
    for (int n = which == 'l' ? all : 1; n <= all; n++) {
        if (which == 's' && n != 1 && n != all / 2 && n != all) continue;
        const long n_calls = check("no failure", n, NULL);
        for (long call = 1; call <= n_calls; call += step) {
            fail_at(n, call, 2);
            fail_at(n, call, 700);
        }
        printf("%d layers: %ld calls\n", n, n_calls);
    }
}

static void *share_main(void *context) {
    answer *a = context;
    run(BLIP2_GPU_AUTO, 60, a);
    return NULL;
}

static void try_sharing(void) {
    enum { SESSIONS = 4 };
    static answer answers[SESSIONS];
    pthread_t threads[SESSIONS];
    reset();
    for (size_t i = 0; i < SESSIONS; i++)
        if (pthread_create(&threads[i], NULL, share_main, &answers[i]) != 0) abort();
    for (size_t i = 0; i < SESSIONS; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < SESSIONS; i++) {
        judge("shared", &answers[i]);
        if (answers[i].device.weight_bytes == 0) complain("shared", answers[i].device.reason);
        forget(&answers[i]);
    }
    if (held() != 0) complain("shared", "device memory was not given back");
}

static void try_hang(void) {
    const long n_calls = check("no failure", BLIP2_GPU_AUTO, NULL);
    answer a;
    char call[32];
    snprintf(call, sizeof call, "%ld", n_calls * 2 / 3);
    set("FAKE_CUDA_HANG", call);
    reset();
    run(BLIP2_GPU_AUTO, 1, &a);
    judge("hang", &a);
    if (strstr(a.device.reason, "no answer for 1 s") == NULL) complain("hang", a.device.reason);
    forget(&a);
    set("FAKE_CUDA_HANG", NULL);
    reopen();
}

/* The parent's session is used in a child: refused, and the CPU does it. */
static void try_fork(void) {
    blip2_session_options o;
    blip2_session *s;
    blip2_error err;
    blip2_session_options_default(&o);
    o.n_threads = 1; /* a team's threads do not live in the child */
    o.max_prompt_tokens = 16;
    o.max_new_tokens = 3;
    o.gpu_layers = BLIP2_GPU_AUTO;
    if (blip2_session_create(model, &o, &s, &err) != BLIP2_OK) die("session", &err);
    const pid_t child = fork();
    if (child == 0) {
        blip2_image *const images[1] = {image};
        const blip2_request request = {.image = 0};
        blip2_device device = {.struct_bytes = sizeof device};
        blip2_result r = {.struct_bytes = sizeof r};
        const bool works = blip2_session_encode(s, images, 1, &err) == BLIP2_OK &&
                           blip2_session_generate(s, &request, 1, NULL, &err) == BLIP2_OK &&
                           blip2_session_result(s, 0, 0, &r) && r.n_tokens > 0 && r.tokens[0] == expected.ids[0][0];
        blip2_session_device(s, &device);
        _exit(works && device.n_layers == 0 && strstr(device.reason, "forked") != NULL ? 0 : 1);
    }
    int state = 1;
    n_runs++;
    if (waitpid(child, &state, 0) != child || state != 0) complain("fork", "the child failed");
    blip2_session_free(&s);
}

int main(int argc, char **argv) {
    blip2_error err;
    if (argc < 5) return 2;
    model_path = argv[1];
    n_tokens = (size_t)atoi(argv[3]);
    reopen();
    if (blip2_image_load(model, argv[2], NULL, &image, &err) != BLIP2_OK) die("picture", &err);
    void *fake = dlopen("libcuda.so.1", RTLD_NOW);
    void *symbols[2] = {fake ? dlsym(fake, "fake_cuda_reset") : NULL, fake ? dlsym(fake, "fake_cuda_held") : NULL};
    if (symbols[0] == NULL || symbols[1] == NULL) {
        fprintf(stderr, "the fake libcuda.so.1 is not in LD_LIBRARY_PATH\n");
        return 3;
    }
    memcpy(&reset, &symbols[0], sizeof reset);
    memcpy(&held, &symbols[1], sizeof held);
    run(0, 60, &expected);
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], "layers") == 0) try_layers();
        else if (strcmp(argv[i], "some") == 0) try_some();
        else if (strcmp(argv[i], "door") == 0) try_door();
        else if (strcmp(argv[i], "fail") == 0 && i + 1 < argc) try_failures('s', atol(argv[++i]));
        else if (strcmp(argv[i], "fail-last") == 0 && i + 1 < argc) try_failures('l', atol(argv[++i]));
        else if (strcmp(argv[i], "fail-all") == 0) try_failures('a', 1);
        else if (strcmp(argv[i], "share") == 0) try_sharing();
        else if (strcmp(argv[i], "hang") == 0) try_hang();
        else if (strcmp(argv[i], "fork") == 0) try_fork();
        else return 2;
    }
    forget(&expected);
    blip2_image_free(&image);
    blip2_model_close(&model);
    printf("%d runs, %d of them ended on the CPU, %d different\n", n_runs, n_on_cpu, n_different);
    return n_different != 0;
}
