/* bpe_merge.c: the table of merges, and the merging of one word through a queue of its pairs. */
#include "tokenizer/bpe_merge.h"

#include <stdlib.h>
#include <string.h>

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* The slot of that pair, or the empty slot where it would go. */
static uint32_t *find_slot(const b2_merge_table *table, int32_t left, int32_t right) {
    uint64_t hash = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    for (size_t i = (size_t)hash & table->mask;; i = (i + 1) & table->mask) {
        uint32_t *slot = &table->slots[i];
        if (*slot == B2_NO_RANK) return slot;
        const b2_merge *merge = &table->merges[*slot];
        if (merge->left == left && merge->right == right) return slot;
    }
}

/* Looks up both halves of "left right" and what they make together. */
static blip2_status parse_merge(const b2_pieces *pieces, b2_text line, size_t rank, b2_merge *merge, blip2_error *err) {
    const b2_text nothing = {"", 0};
    const char *space = line.len > 0 ? memchr(line.data, ' ', line.len) : NULL;
    const size_t left_len = space != NULL ? (size_t)(space - line.data) : 0;
    const b2_text left = {line.data, left_len};
    const b2_text right = {space != NULL ? space + 1 : "", space != NULL ? line.len - left_len - 1 : 0};
    if (left.len == 0 || right.len == 0 || memchr(right.data, ' ', right.len) != NULL)
        return b2_fail(err, BLIP2_FORMAT, "merge %zu: expected two tokens with one space between, got \"%.*s\"", rank,
                       b2_shown_len(line), line.data);
    *merge = (b2_merge){b2_pieces_find(pieces, left, nothing), b2_pieces_find(pieces, right, nothing),
                        b2_pieces_find(pieces, left, right)};
    if (merge->left < 0 || merge->right < 0 || merge->result < 0)
        return b2_fail(err, BLIP2_FORMAT, "merge %zu \"%.*s\": %s is not a token of the vocabulary", rank,
                       b2_shown_len(line), line.data,
                       merge->left < 0    ? "its left half"
                       : merge->right < 0 ? "its right half"
                                          : "its result");
    return BLIP2_OK;
}

static blip2_status add_merge(const b2_vocabulary *vocabulary, const b2_pieces *pieces, size_t rank,
                              b2_merge_table *table, blip2_error *err) {
    b2_merge *merge = &table->merges[rank];
    B2_TRY(parse_merge(pieces, vocabulary->merges[rank], rank, merge, err));
    uint32_t *slot = find_slot(table, merge->left, merge->right);
    if (*slot != B2_NO_RANK)
        return b2_fail(err, BLIP2_FORMAT, "merge %zu \"%.*s\": merge %u is the same", rank,
                       b2_shown_len(vocabulary->merges[rank]), vocabulary->merges[rank].data, (unsigned)*slot);
    *slot = (uint32_t)rank;
    return BLIP2_OK;
}

blip2_status b2_merge_table_create(const b2_vocabulary *vocabulary, const b2_pieces *pieces, b2_merge_table *table,
                                   blip2_error *err) {
    *table = (b2_merge_table){0};
    const size_t n = vocabulary->n_merges;
    if (n > B2_VOCABULARY_MAX)
        return b2_fail(err, BLIP2_LIMIT, "a vocabulary of %zu merges: at most %d can be", n, (int)B2_VOCABULARY_MAX);
    const size_t n_slots = b2_table_slots(n);
    table->merges = malloc((n + 1) * sizeof *table->merges);
    table->slots = malloc(n_slots * sizeof *table->slots);
    table->mask = n_slots - 1;
    blip2_status status = BLIP2_OK;
    if (table->merges == NULL || table->slots == NULL)
        status = b2_fail(err, BLIP2_MEMORY, "no memory for a table of %zu merges", n);
    else memset(table->slots, 0xFF, n_slots * sizeof *table->slots); /* all B2_NO_RANK */
    for (size_t rank = 0; rank < n && status == BLIP2_OK; rank++)
        status = add_merge(vocabulary, pieces, rank, table, err);
    if (status != BLIP2_OK) b2_merge_table_free(table);
    return status;
}

void b2_merge_table_free(b2_merge_table *table) {
    free(table->merges);
    free(table->slots);
    *table = (b2_merge_table){0};
}

/* ---- the queue: a binary heap of (rank, place in the word), smallest first --------------------------------------- */

static void push(b2_merge_work *work, uint64_t entry) {
    uint64_t *queue = work->queue;
    size_t i = work->n_queued++;
    for (; i > 0 && queue[(i - 1) / 2] > entry; i = (i - 1) / 2) {
        queue[i] = queue[(i - 1) / 2];
        work->n_steps++;
    }
    queue[i] = entry;
}

/* The queue must not be empty. */
static uint64_t pop(b2_merge_work *work) {
    uint64_t *queue = work->queue;
    const uint64_t smallest = queue[0], last = queue[--work->n_queued];
    size_t i = 0;
    for (size_t child = 1; child < work->n_queued; child = 2 * i + 1) {
        if (child + 1 < work->n_queued && queue[child + 1] < queue[child]) child++;
        if (queue[child] >= last) break;
        queue[i] = queue[child];
        i = child;
        work->n_steps++;
    }
    queue[i] = last;
    return smallest;
}

/* ---- one word ---------------------------------------------------------------------------------------------------- */

/* Queues the pair of a symbol and its right neighbour, if it is in the list. */
static void queue_pair(const b2_merge_table *table, b2_merge_work *work, uint32_t place) {
    const b2_symbol *left = &work->symbols[place];
    if (left->next == B2_NO_SYMBOL) return;
    const uint32_t rank = *find_slot(table, left->id, work->symbols[left->next].id);
    if (rank != B2_NO_RANK) push(work, (uint64_t)rank << 32 | place);
}

/* The symbol at place swallows its right neighbour; two new pairs arise. */
static void join_pair(const b2_merge_table *table, b2_merge_work *work, uint32_t place, int32_t result) {
    b2_symbol *left = &work->symbols[place], *right = &work->symbols[left->next];
    left->id = result;
    left->next = right->next;
    right->id = -1;
    if (left->next != B2_NO_SYMBOL) work->symbols[left->next].previous = place;
    if (left->previous != B2_NO_SYMBOL) queue_pair(table, work, left->previous);
    queue_pair(table, work, place);
}

/* Entries are never taken out of the queue when their pair is broken up: they are recognised when their turn comes.
 * Each join makes one symbol fewer and adds at most two entries to the first len - 1: fewer than 2 len ever wait. */
void b2_merge_word(const b2_merge_table *table, const int32_t byte_ids[256], const char *word, size_t len,
                   b2_merge_work *work) {
    b2_symbol *symbols = work->symbols;
    for (size_t i = 0; i < len; i++)
        symbols[i] = (b2_symbol){byte_ids[(uint8_t)word[i]], i > 0 ? (uint32_t)(i - 1) : B2_NO_SYMBOL,
                                 i + 1 < len ? (uint32_t)(i + 1) : B2_NO_SYMBOL};
    work->n_queued = 0;
    for (size_t i = 0; i + 1 < len; i++) queue_pair(table, work, (uint32_t)i);
    while (work->n_queued > 0) {
        const uint64_t entry = pop(work);
        const uint32_t place = (uint32_t)entry;
        const b2_merge *merge = &table->merges[entry >> 32];
        const b2_symbol *left = &symbols[place];
        if (left->id != merge->left || left->next == B2_NO_SYMBOL || symbols[left->next].id != merge->right) continue;
        join_pair(table, work, place, merge->result);
    }
}
