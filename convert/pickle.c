#include "convert/pickle.h"

#include "base/grow.h"
#include "convert/pickle_names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the machine's values -------------------------------------------------------------------------------------- */

typedef enum value_kind { NONE, BOOL, INT, STRING, FUNCTION, TYPE, TUPLE, DICT, LIST, STORAGE, TENSOR } value_kind;

/* A list is kept as a dictionary without keys. Values are small and copied; what is larger lies in the machine's
 * tables, which only grow. Nothing is ever walked recursively, so depth costs nothing. */
typedef struct value {
    value_kind kind;
    uint32_t n; /* TUPLE: its length */
    union {
        int64_t integer;
        b2_text string;
        size_t at; /* TUPLE, STORAGE, TENSOR: index in its table; DICT, LIST: its number; FUNCTION: its id */
        const char *type_name;
    } as;
} value;

typedef struct dict_entry {
    size_t dict;
    b2_text key;
    value item;
} dict_entry;

typedef struct storage {
    const char *type_name;
    b2_text key;
    uint64_t n_elements;
} storage;

/* A growing array of anything. */
typedef struct table {
    void *items;
    size_t n, capacity;
} table;

enum {
    STACK_MAX = 1 << 16, /* torch.save writes dictionaries in batches of 1000 entries */
    MEMO_MAX = 1 << 20,
    TABLE_MAX = 1 << 22 /* items of any other table */
};

typedef struct machine {
    const char *path;
    const uint8_t *data;
    size_t size, at, op_at; /* op_at: where the current opcode stands */
    table stack;            /* value */
    table marks;            /* size_t: heights of the stack */
    table memo;             /* value; never written ones are NONE */
    table tuple_items;      /* value */
    table dict_entries;     /* dict_entry: of all dictionaries, in the order in which they were set */
    table storages;         /* storage */
    table tensors;          /* b2_pickle_tensor */
    size_t n_dicts;
    blip2_error *err;
} machine;

static blip2_status broken(const machine *m, const char *what) {
    return b2_fail(m->err, BLIP2_FORMAT, "%s: broken pickle at byte %zu: %s", m->path, m->op_at, what);
}

static blip2_status append(machine *m, table *t, size_t limit, const void *item, size_t item_bytes) {
    if (t->n >= limit)
        return b2_fail(m->err, BLIP2_LIMIT, "%s: pickle too large at byte %zu: more than %zu items", m->path, m->op_at,
                       limit);
    if (!b2_grow(&t->items, t->n, &t->capacity, item_bytes))
        return b2_fail(m->err, BLIP2_MEMORY, "%s: no memory to read it", m->path);
    memcpy((uint8_t *)t->items + t->n * item_bytes, item, item_bytes);
    t->n++;
    return BLIP2_OK;
}

static blip2_status push(machine *m, value v) { return append(m, &m->stack, STACK_MAX, &v, sizeof v); }

/* The lowest stack height that an opcode may pop to: that of the last mark. */
static size_t floor_height(const machine *m) {
    return m->marks.n == 0 ? 0 : ((const size_t *)m->marks.items)[m->marks.n - 1];
}

static blip2_status pop(machine *m, value *out) {
    if (m->stack.n <= floor_height(m)) return broken(m, "the stack is empty");
    *out = ((value *)m->stack.items)[--m->stack.n];
    return BLIP2_OK;
}

static value *top(machine *m) {
    return m->stack.n <= floor_height(m) ? NULL : &((value *)m->stack.items)[m->stack.n - 1];
}

static const value *tuple_item(const machine *m, const value *tuple, size_t i) {
    return &((const value *)m->tuple_items.items)[tuple->as.at + i];
}

/* ---- reading arguments ----------------------------------------------------------------------------------------- */

static blip2_status take(machine *m, size_t n, const uint8_t **bytes) {
    if (n > m->size - m->at) return broken(m, "it ends in the middle of an instruction");
    *bytes = m->data + m->at;
    m->at += n;
    return BLIP2_OK;
}

/* n <= 8 bytes, little endian, without sign. */
static blip2_status take_uint(machine *m, size_t n, uint64_t *out) {
    const uint8_t *bytes = NULL;
    B2_TRY(take(m, n, &bytes));
    *out = 0;
    for (size_t i = n; i-- > 0;) *out = *out << 8 | bytes[i];
    return BLIP2_OK;
}

static blip2_status take_line(machine *m, b2_text *out) {
    const uint8_t *start = m->data + m->at;
    const uint8_t *end = memchr(start, '\n', m->size - m->at);
    if (end == NULL) return broken(m, "a name without an end");
    *out = (b2_text){.data = (const char *)start, .len = (size_t)(end - start)};
    m->at += out->len + 1;
    return BLIP2_OK;
}

/* ---- opcodes that make values ---------------------------------------------------------------------------------- */

static blip2_status push_int(machine *m, size_t n_bytes) {
    uint64_t bits = 0;
    B2_TRY(take_uint(m, n_bytes, &bits));
    const int64_t integer = n_bytes == 4 && bits > INT32_MAX ? (int64_t)bits - ((int64_t)1 << 32) : (int64_t)bits;
    return push(m, (value){.kind = INT, .as.integer = integer});
}

/* LONG1: how many bytes, then a two's complement number: sizes beyond 2^31. */
static blip2_status push_long(machine *m) {
    uint64_t n_bytes = 0, bits = 0;
    B2_TRY(take_uint(m, 1, &n_bytes));
    if (n_bytes > 8) return broken(m, "an integer of more than 64 bits");
    B2_TRY(take_uint(m, (size_t)n_bytes, &bits));
    if (n_bytes > 0 && n_bytes < 8 && bits >> (8 * n_bytes - 1) != 0) bits |= UINT64_MAX << (8 * n_bytes);
    const int64_t integer = bits > INT64_MAX ? -(int64_t)(UINT64_MAX - bits) - 1 : (int64_t)bits;
    return push(m, (value){.kind = INT, .as.integer = integer});
}

static blip2_status push_string(machine *m, size_t n_bytes_of_len) {
    uint64_t len = 0;
    const uint8_t *bytes = NULL;
    B2_TRY(take_uint(m, n_bytes_of_len, &len));
    B2_TRY(take(m, (size_t)len, &bytes));
    return push(m, (value){.kind = STRING, .as.string = {.data = (const char *)bytes, .len = (size_t)len}});
}

static blip2_status push_bool(machine *m, bool truth) { return push(m, (value){.kind = BOOL, .as.integer = truth}); }

static blip2_status push_dict(machine *m) { return push(m, (value){.kind = DICT, .as.at = m->n_dicts++}); }

static blip2_status push_list(machine *m) { return push(m, (value){.kind = LIST, .as.at = m->n_dicts++}); }

/* The topmost n values become a tuple. */
static blip2_status make_tuple(machine *m, size_t n) {
    if (m->stack.n - floor_height(m) < n) return broken(m, "the stack is empty");
    const value tuple = {.kind = TUPLE, .n = (uint32_t)n, .as.at = m->tuple_items.n};
    for (size_t i = m->stack.n - n; i < m->stack.n; i++)
        B2_TRY(append(m, &m->tuple_items, TABLE_MAX, (value *)m->stack.items + i, sizeof(value)));
    m->stack.n -= n;
    return push(m, tuple);
}

static blip2_status push_mark(machine *m) { return append(m, &m->marks, STACK_MAX, &m->stack.n, sizeof m->stack.n); }

/* Removes the last mark; *n is how many values lie above it. */
static blip2_status pop_mark(machine *m, size_t *n) {
    if (m->marks.n == 0) return broken(m, "a mark is missing");
    *n = m->stack.n - floor_height(m);
    m->marks.n--;
    return BLIP2_OK;
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static blip2_status memo_put(machine *m, size_t n_bytes) {
    uint64_t index = 0;
    B2_TRY(take_uint(m, n_bytes, &index));
    const value *v = top(m);
    if (v == NULL) return broken(m, "the stack is empty");
    if (index >= MEMO_MAX)
        return b2_fail(m->err, BLIP2_LIMIT, "%s: pickle at byte %zu wants memory cell %" PRIu64 " of at most %d",
                       m->path, m->op_at, index, (int)MEMO_MAX);
    /* Cells are numbered in the order of their use: torch.save leaves no gap. */
    if (index > m->memo.n) return broken(m, "it skips a memory cell");
    if (index == m->memo.n) return append(m, &m->memo, MEMO_MAX, v, sizeof *v);
    ((value *)m->memo.items)[index] = *v;
    return BLIP2_OK;
}

static blip2_status memo_get(machine *m, size_t n_bytes) {
    uint64_t index = 0;
    B2_TRY(take_uint(m, n_bytes, &index));
    if (index >= m->memo.n) return broken(m, "it reads a memory cell that was never written");
    return push(m, ((const value *)m->memo.items)[index]);
}

/* ---- names of Python things ------------------------------------------------------------------------------------ */

static blip2_status push_global(machine *m) {
    b2_text module = {0}, name = {0};
    B2_TRY(take_line(m, &module));
    B2_TRY(take_line(m, &name));
    const b2_pickle_function function = b2_pickle_find_function(&module, &name);
    if (function != B2_PICKLE_NO_FUNCTION) return push(m, (value){.kind = FUNCTION, .as.at = function});
    const char *type_name = b2_pickle_find_storage_type(&module, &name);
    if (type_name != NULL) return push(m, (value){.kind = TYPE, .as.type_name = type_name});
    char module_text[B2_PICKLE_WORD_BYTES], name_text[B2_PICKLE_WORD_BYTES];
    return b2_fail(m->err, BLIP2_UNSUPPORTED,
                   "%s: pickle at byte %zu names %s.%s, which a checkpoint does not need: refused", m->path, m->op_at,
                   b2_pickle_word_text(&module, module_text), b2_pickle_word_text(&name, name_text));
}

/* BINPERSID: ("storage", type, key, device, number of elements) -> a storage. Before PyTorch 1.6 there was a sixth item: of
 * which other storage it is a part, None for whole ones. */
static blip2_status push_storage(machine *m) {
    value id = {0};
    B2_TRY(pop(m, &id));
    if (id.kind != TUPLE || id.n < 5 || id.n > 6 || (id.n == 6 && tuple_item(m, &id, 5)->kind != NONE))
        return broken(m, "a storage with another description");
    const value *word = tuple_item(m, &id, 0), *type = tuple_item(m, &id, 1), *key = tuple_item(m, &id, 2),
                *count = tuple_item(m, &id, 4);
    if (word->kind != STRING || !b2_pickle_is_word(&word->as.string, "storage") || type->kind != TYPE ||
        key->kind != STRING || count->kind != INT || count->as.integer < 0)
        return broken(m, "a storage with another description");
    const storage s = {
        .type_name = type->as.type_name, .key = key->as.string, .n_elements = (uint64_t)count->as.integer};
    const value v = {.kind = STORAGE, .as.at = m->storages.n};
    B2_TRY(append(m, &m->storages, TABLE_MAX, &s, sizeof s));
    return push(m, v);
}

/* ---- calls ----------------------------------------------------------------------------------------------------- */

/* Row-major without gaps (the stride of a dimension of one element says nothing), and inside the storage. */
static bool is_contiguous(const machine *m, const b2_pickle_tensor *t, const value *strides) {
    uint64_t expected = 1;
    for (uint32_t i = t->n_dims; i-- > 0;) {
        const value *stride = tuple_item(m, strides, i);
        if (stride->kind != INT) return false;
        if (t->dims[i] != 1 && (uint64_t)stride->as.integer != expected) return false;
        expected *= t->dims[i];
    }
    return t->offset <= t->storage_elements && t->n_elements <= t->storage_elements - t->offset;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]). */
static blip2_status rebuild_tensor(machine *m, const value *args) {
    if (args->n < 4) return broken(m, "a tensor with another description");
    const value *from = tuple_item(m, args, 0), *offset = tuple_item(m, args, 1), *size = tuple_item(m, args, 2),
                *strides = tuple_item(m, args, 3);
    if (from->kind != STORAGE || offset->kind != INT || offset->as.integer < 0 || size->kind != TUPLE ||
        strides->kind != TUPLE || size->n != strides->n || size->n > B2_STORED_DIMS_MAX)
        return broken(m, "a tensor with another description");
    const storage *s = (const storage *)m->storages.items + from->as.at;
    b2_pickle_tensor t = {.key = s->key,
                          .type_name = s->type_name,
                          .storage_elements = s->n_elements,
                          .offset = (uint64_t)offset->as.integer,
                          .n_dims = size->n};
    for (uint32_t i = 0; i < t.n_dims; i++) {
        const value *dim = tuple_item(m, size, i);
        if (dim->kind != INT || dim->as.integer < 0) return broken(m, "a tensor with an impossible shape");
        t.dims[i] = (uint64_t)dim->as.integer;
    }
    if (!b2_stored_count(t.dims, t.n_dims, &t.n_elements)) return broken(m, "a tensor with an impossible shape");
    t.is_contiguous = is_contiguous(m, &t, strides);
    const value v = {.kind = TENSOR, .as.at = m->tensors.n};
    B2_TRY(append(m, &m->tensors, B2_STORED_TENSORS_MAX, &t, sizeof t));
    return push(m, v);
}

static blip2_status call(machine *m) {
    value args = {0}, function = {0};
    B2_TRY(pop(m, &args));
    B2_TRY(pop(m, &function));
    if (function.kind != FUNCTION || args.kind != TUPLE) return broken(m, "a call of something that is not a function");
    switch ((b2_pickle_function)function.as.at) {
    case B2_PICKLE_ORDERED_DICT: return args.n == 0 ? push_dict(m) : broken(m, "an OrderedDict that is not made empty");
    case B2_PICKLE_REBUILD_TENSOR: return rebuild_tensor(m, &args);
    case B2_PICKLE_REBUILD_PARAMETER:
    case B2_PICKLE_NO_FUNCTION: break;
    }
    if (args.n == 0 || tuple_item(m, &args, 0)->kind != TENSOR) return broken(m, "a parameter that is not a tensor");
    return push(m, *tuple_item(m, &args, 0));
}

/* The topmost n values, key and item by turns, go into the dictionary below them. */
static blip2_status set_items(machine *m, size_t n) {
    const size_t first = m->stack.n - n;
    if (n % 2 != 0 || first <= floor_height(m)) return broken(m, "a key without its value");
    const value *values = m->stack.items, *dict = &values[first - 1];
    if (dict->kind != DICT) return broken(m, "an entry for something that is not a dictionary");
    for (size_t i = first; i < m->stack.n; i += 2) {
        if (values[i].kind != STRING) return broken(m, "a key that is not a string");
        const dict_entry entry = {.dict = dict->as.at, .key = values[i].as.string, .item = values[i + 1]};
        B2_TRY(append(m, &m->dict_entries, TABLE_MAX, &entry, sizeof entry));
    }
    m->stack.n = first;
    return BLIP2_OK;
}

/* The topmost n values go to the end of the list below them. */
static blip2_status append_items(machine *m, size_t n) {
    const size_t first = m->stack.n - n;
    if (m->stack.n - floor_height(m) <= n) return broken(m, "items without their list");
    const value *values = m->stack.items, *list = &values[first - 1];
    if (list->kind != LIST) return broken(m, "items for something that is not a list");
    for (size_t i = first; i < m->stack.n; i++) {
        const dict_entry entry = {.dict = list->as.at, .item = values[i]};
        B2_TRY(append(m, &m->dict_entries, TABLE_MAX, &entry, sizeof entry));
    }
    m->stack.n = first;
    return BLIP2_OK;
}

static blip2_status append_marked_items(machine *m) {
    size_t n = 0;
    B2_TRY(pop_mark(m, &n));
    return append_items(m, n);
}

static blip2_status set_marked_items(machine *m) {
    size_t n = 0;
    B2_TRY(pop_mark(m, &n));
    return set_items(m, n);
}

static blip2_status set_one_item(machine *m) {
    if (m->stack.n - floor_height(m) < 2) return broken(m, "the stack is empty");
    return set_items(m, 2);
}

static blip2_status make_marked_tuple(machine *m) {
    size_t n = 0;
    B2_TRY(pop_mark(m, &n));
    return make_tuple(m, n);
}

/* BUILD gives an object attributes; state dictionaries have one, the versions of their modules: of no use here. */
static blip2_status drop_state(machine *m) {
    value state = {0};
    B2_TRY(pop(m, &state));
    const value *object = top(m);
    return object != NULL && object->kind == DICT ? BLIP2_OK : broken(m, "attributes for something that has none");
}

static blip2_status check_protocol(machine *m) {
    uint64_t version = 0;
    B2_TRY(take_uint(m, 1, &version));
    if (version == 2) return BLIP2_OK;
    return b2_fail(m->err, BLIP2_UNSUPPORTED, "%s: pickle protocol %" PRIu64 ", expected 2, which torch.save writes",
                   m->path, version);
}

static blip2_status step(machine *m, uint8_t opcode) {
    switch (opcode) {
    case 0x80: return check_protocol(m);
    case '(': return push_mark(m);
    case ')': return make_tuple(m, 0);
    case '}': return push_dict(m);
    case 't': return make_marked_tuple(m);
    case 0x85: return make_tuple(m, 1);
    case 0x86: return make_tuple(m, 2);
    case 0x87: return make_tuple(m, 3);
    case 'N': return push(m, (value){.kind = NONE});
    case 0x88: return push_bool(m, true);
    case 0x89: return push_bool(m, false);
    case 'K': return push_int(m, 1);
    case 'M': return push_int(m, 2);
    case 'J': return push_int(m, 4);
    case 0x8a: return push_long(m);
    case 'X':
    case 'T': return push_string(m, 4); /* T and U: what Python 2 wrote */
    case 'U': return push_string(m, 1);
    case ']': return push_list(m);
    case 'a': return append_items(m, 1);
    case 'e': return append_marked_items(m);
    case 'q': return memo_put(m, 1);
    case 'r': return memo_put(m, 4);
    case 'h': return memo_get(m, 1);
    case 'j': return memo_get(m, 4);
    case 'c': return push_global(m);
    case 'Q': return push_storage(m);
    case 'R': return call(m);
    case 's': return set_one_item(m);
    case 'u': return set_marked_items(m);
    case 'b': return drop_state(m);
    default:
        return b2_fail(m->err, BLIP2_UNSUPPORTED,
                       "%s: pickle at byte %zu has opcode 0x%02x, which a checkpoint does not need: refused", m->path,
                       m->op_at, opcode);
    }
}

/* ---- result ---------------------------------------------------------------------------------------------------- */

/* The entries of dictionary `root` become the list of tensors. */
static blip2_status collect(machine *m, size_t root, b2_pickle_tensors *out) {
    const dict_entry *entries = m->dict_entries.items;
    table result = {0};
    for (size_t i = 0; i < m->dict_entries.n; i++) {
        if (entries[i].dict != root) continue;
        blip2_status status = BLIP2_OK;
        if (entries[i].item.kind != TENSOR) {
            char key[B2_PICKLE_WORD_BYTES];
            status = b2_fail(m->err, BLIP2_FORMAT, "%s: '%s' is not a tensor, expected a plain dictionary of tensors",
                             m->path, b2_pickle_word_text(&entries[i].key, key));
        } else {
            b2_pickle_tensor t = ((const b2_pickle_tensor *)m->tensors.items)[entries[i].item.as.at];
            t.name = entries[i].key;
            status = append(m, &result, B2_STORED_TENSORS_MAX, &t, sizeof t);
        }
        if (status == BLIP2_OK) continue;
        free(result.items);
        return status;
    }
    *out = (b2_pickle_tensors){.items = result.items, .n = result.n};
    return BLIP2_OK;
}

/* The items of list `root`, all strings. */
static blip2_status collect_words(machine *m, size_t root, b2_pickle_words *out) {
    const dict_entry *entries = m->dict_entries.items;
    table result = {0};
    blip2_status status = BLIP2_OK;
    for (size_t i = 0; status == BLIP2_OK && i < m->dict_entries.n; i++) {
        if (entries[i].dict != root) continue;
        if (entries[i].item.kind != STRING) status = broken(m, "its list holds something else than strings");
        else status = append(m, &result, B2_STORED_TENSORS_MAX, &entries[i].item.as.string, sizeof(b2_text));
    }
    *out = (b2_pickle_words){.items = result.items, .n = result.n};
    if (status != BLIP2_OK) b2_pickle_words_free(out);
    return status;
}

static blip2_status run(machine *m, value *result) {
    for (;;) {
        const uint8_t *opcode = NULL;
        m->op_at = m->at;
        B2_TRY(take(m, 1, &opcode));
        if (*opcode == '.') return pop(m, result);
        B2_TRY(step(m, *opcode));
    }
}

static void free_machine(machine *m) {
    table *const tables[] = {&m->stack,        &m->marks,    &m->memo,   &m->tuple_items,
                             &m->dict_entries, &m->storages, &m->tensors};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) free(tables[i]->items);
}

blip2_status b2_pickle_read(const char *path, const uint8_t *data, size_t size, size_t *n_used, b2_pickle_tensors *out,
                            blip2_error *err) {
    machine m = {.path = path, .data = data, .size = size, .err = err};
    value result = {0};
    *out = (b2_pickle_tensors){0};
    if (size > B2_PICKLE_MAX_BYTES)
        return b2_fail(err, BLIP2_LIMIT, "%s: its pickle has %zu bytes, expected at most %d", path, size,
                       (int)B2_PICKLE_MAX_BYTES);
    blip2_status status = run(&m, &result);
    if (status == BLIP2_OK && result.kind != DICT) status = broken(&m, "its result is not a dictionary");
    if (status == BLIP2_OK) status = collect(&m, result.as.at, out);
    if (n_used != NULL) *n_used = m.at;
    free_machine(&m);
    return status;
}

blip2_status b2_pickle_read_words(const char *path, const uint8_t *data, size_t size, size_t *n_used,
                                  b2_pickle_words *out, blip2_error *err) {
    machine m = {.path = path, .data = data, .size = size, .err = err};
    value result = {0};
    *out = (b2_pickle_words){0};
    blip2_status status = run(&m, &result);
    if (status == BLIP2_OK && result.kind == LIST) status = collect_words(&m, result.as.at, out);
    *n_used = m.at;
    free_machine(&m);
    return status;
}

void b2_pickle_words_free(b2_pickle_words *words) {
    free(words->items);
    *words = (b2_pickle_words){0};
}

void b2_pickle_tensors_free(b2_pickle_tensors *tensors) {
    free(tensors->items);
    *tensors = (b2_pickle_tensors){0};
}
