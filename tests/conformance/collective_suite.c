/* SPDX-License-Identifier: Apache-2.0 */
/* See collective_suite.h. */
#include "tests/conformance/collective_suite.h"
#include "tests/conformance/collective_reference.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

uint64_t suite_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int below(uint64_t *state, int n)
{
    return (int)(suite_random(state) % (uint64_t)n);
}

/* Splits [first, first + count) or gives it to a rank; a twentieth of the leaves is absent (empty shards). */
static void deal(uint64_t *random, struct ls_range range, int world, int8_t *owner, struct ls_range *ranges, int *count)
{
    if (range.count > 1 && below(random, 3) != 0) {
        int half = range.count / 2;
        deal(random, (struct ls_range){range.first, half}, world, owner, ranges, count);
        deal(random, (struct ls_range){range.first + half, half}, world, owner, ranges, count);
        return;
    }
    if (below(random, 20) == 0 && *count > 0)
        return;
    owner[*count] = (int8_t)below(random, world);
    ranges[(*count)++] = range;
}

void suite_layout(uint64_t *random, int world, struct ls_tree_layout *layout)
{
    int8_t owner[LS_MAX_SHARDS];
    struct ls_range ranges[LS_MAX_SHARDS];
    int count = 0;

    memset(layout, 0, sizeof *layout);
    layout->v_total = 1 << below(random, 7);
    layout->world = world;
    deal(random, (struct ls_range){0, layout->v_total}, world, owner, ranges, &count);
    for (int r = 0; r < world; r++) {
        layout->first_range[r] = layout->range_count;
        for (int i = 0; i < count; i++)
            if (owner[i] == r)
                layout->ranges[layout->range_count++] = ranges[i];
    }
    layout->first_range[world] = layout->range_count;
}

struct member {
    struct ls_group *group;
    const struct suite_options *options;
    int rank;
    int world;
    uint64_t random;
    uint8_t *shared; /* registered: several buffers of room bytes */
    size_t room;
    int failures;
};

#define SHARED_BUFFERS 6

/* Room for a buffer: registered (the k-th) or plain, at an odd place now and then. */
static void *take(struct member *m, bool registered, int k, size_t bytes, void **owned)
{
    *owned = NULL;
    if (registered && k < SHARED_BUFFERS && bytes + 64 <= m->room)
        return m->shared + (size_t)k * m->room;
    *owned = ls_alloc_aligned(bytes + 64);
    return *owned;
}

static void report(struct member *m, const char *what, const struct ls_collective *op, int64_t at)
{
    m->failures++;
    fprintf(stderr, "rank %d of %d: %s: kind %d %s reduction %d count %lld, element %lld\n", m->rank, m->world, what,
            (int)op->kind, ls_dtype_name(op->dtype), (int)op->reduction, (long long)op->count, (long long)at);
}

static void check_status(struct member *m, const struct ls_collective *op, enum ls_status status,
                         const struct ls_error *err)
{
    if (status != LS_OK) {
        report(m, "status", op, status);
        fprintf(stderr, "  %s\n", err->message);
    }
}

/* Exact, but for sums of floats in a group that adds in any order. Products of floats are left out there: an order may
 * overflow where another does not. */
static bool right(const struct member *m, const struct ls_collective *op, uint8_t *const *leaf_at, const uint8_t *want,
                  int64_t i, const uint8_t *got)
{
    bool real = op->dtype != LS_I32 && op->dtype != LS_I64;
    double wanted, magnitude = 0;

    if (reference_same(op->dtype, want, got))
        return true;
    if (!m->options->any_order || !real)
        return false;
    wanted = reference_real(op->dtype, want);
    /* Of two zeros either is the larger one. */
    if (op->reduction == LS_MIN || op->reduction == LS_MAX)
        return wanted == reference_real(op->dtype, got);
    if (op->reduction == LS_PRODUCT || !isfinite(wanted))
        return op->reduction == LS_PRODUCT || op->dtype == LS_F16;
    for (int v = 0; v < LS_MAX_SHARDS; v++)
        if (leaf_at[v] != NULL)
            magnitude += fabs(reference_real(op->dtype, leaf_at[v] + (size_t)i * ls_dtype_size(op->dtype)));
    /* What is close to the largest f32 may round to an infinity on a wire of bf16, what is tiny to the next
     * subnormal. */
    if (op->dtype == LS_F32 && m->options->bf16_wire && magnitude > 3e38)
        return true;
    return (op->dtype == LS_F16 && magnitude > 60000) ||
           fabs(reference_real(op->dtype, got) - wanted) <=
               magnitude * reference_tolerance(op->dtype, m->options->bf16_wire) +
                   (m->options->bf16_wire ? 0x1p-126 : 0);
}

/* All members have the same bits. */
static void check_equal(struct member *m, const struct ls_collective *op)
{
    uint64_t own = ls_xxh3(op->dst, (size_t)op->count * ls_dtype_size(op->dtype), 0), all[LS_MAX_MEMBERS];
    int64_t counts[LS_MAX_MEMBERS];
    struct ls_error err = LS_ERROR_INIT;
    struct ls_collective gather = {.kind = LS_ALL_GATHER, .dtype = LS_I64, .src = &own, .dst = all, .counts = counts};

    for (int r = 0; r < m->world; r++)
        counts[r] = 1;
    check_status(m, &gather, ls_group_run(m->group, &gather, &err), &err);
    for (int r = 0; r < m->world && m->failures == 0; r++)
        if (all[r] != own)
            report(m, "members have different bits", op, r);
}

/* Every 7th element and both ends of large results, all of small ones. */
static int64_t stride(int64_t count, int64_t i)
{
    return count < 5000 || i + 64 > count ? 1 : 7;
}

/* Deals out the elements of a result; returns where the own ones begin. */
static int64_t deal_counts(struct member *m, int64_t count, int64_t *counts)
{
    int64_t left = count, begin = 0;

    for (int r = 0; r < m->world; r++) {
        counts[r] = r == m->world - 1 ? left : (int64_t)(suite_random(&m->random) % (uint64_t)(left + 1));
        left -= counts[r];
        begin += r < m->rank ? counts[r] : 0;
    }
    return begin;
}

static void run_tree(struct member *m, const struct ls_tree_layout *layout, struct ls_collective *op, bool registered)
{
    int64_t counts[LS_MAX_MEMBERS], begin = 0;
    uint8_t *leaf_at[LS_MAX_SHARDS] = {NULL};
    int size_at[LS_MAX_SHARDS] = {0};
    const void *own[LS_MAX_SHARDS];
    void *owned[LS_MAX_SHARDS + 1] = {NULL};
    size_t bytes = (size_t)op->count * ls_dtype_size(op->dtype);
    uint64_t seed = suite_random(&m->random);
    struct ls_error err = LS_ERROR_INIT;
    int mine = 0;

    for (int r = 0; r < m->world; r++)
        for (int i = layout->first_range[r]; i < layout->first_range[r + 1]; i++) {
            int v = layout->ranges[i].first;
            size_at[v] = layout->ranges[i].count;
            leaf_at[v] = take(m, registered && r == m->rank, 1 + mine, bytes, &owned[i]);
            reference_values(op->dtype, seed + (uint64_t)v, op->count, leaf_at[v]);
            if (r == m->rank)
                own[mine++] = leaf_at[v];
        }
    op->leaves = own;
    op->layout = layout;
    op->dst = take(m, registered, 0, bytes, &owned[LS_MAX_SHARDS]);
    op->counts = counts;
    if (op->kind == LS_REDUCE_SCATTER)
        begin = deal_counts(m, op->count, counts);
    int64_t length = op->kind == LS_REDUCE_SCATTER ? counts[m->rank] : op->count;
    check_status(m, op, ls_group_run(m->group, op, &err), &err);
    for (int64_t i = 0; i < length; i += stride(length, i)) {
        uint8_t want[REFERENCE_BYTES] = {0};
        (void)reference_node(op, leaf_at, size_at, (struct ls_range){0, layout->v_total}, begin + i, want);
        reference_mean(op, layout->range_count, want);
        if (!right(m, op, leaf_at, want, begin + i, (uint8_t *)op->dst + (size_t)i * ls_dtype_size(op->dtype))) {
            report(m, "canonical all-reduce differs", op, i);
            break;
        }
    }
    if (m->options->any_order && op->kind != LS_REDUCE_SCATTER)
        check_equal(m, op);
    for (int i = 0; i <= LS_MAX_SHARDS; i++)
        ls_free(owned[i]);
}

/* All-reduce and reduce-scatter: the leaves are the ranks. */
static void run_flat(struct member *m, struct ls_collective *op, bool registered)
{
    uint8_t *leaf_at[LS_MAX_SHARDS] = {NULL};
    int size_at[LS_MAX_SHARDS] = {0};
    void *owned[LS_MAX_MEMBERS + 1] = {NULL};
    int64_t counts[LS_MAX_MEMBERS];
    size_t size = ls_dtype_size(op->dtype);
    uint64_t seed = suite_random(&m->random);
    struct ls_error err = LS_ERROR_INIT;
    int64_t begin;
    int v_total = 1;

    while (v_total < m->world)
        v_total *= 2;
    for (int r = 0; r < m->world; r++) {
        size_at[r] = 1;
        leaf_at[r] = take(m, registered && r == m->rank, 1, (size_t)op->count * size, &owned[r]);
        reference_values(op->dtype, seed + (uint64_t)r, op->count, leaf_at[r]);
    }
    begin = deal_counts(m, op->count, counts);
    bool scatter = op->kind == LS_REDUCE_SCATTER;
    int64_t length = scatter ? counts[m->rank] : op->count;
    begin = scatter ? begin : 0;
    op->src = leaf_at[m->rank];
    op->counts = counts;
    op->dst = take(m, registered, 0, (size_t)op->count * size, &owned[LS_MAX_MEMBERS]);
    check_status(m, op, ls_group_run(m->group, op, &err), &err);
    for (int64_t i = 0; i < length; i += stride(length, i)) {
        uint8_t want[REFERENCE_BYTES] = {0};
        (void)reference_node(op, leaf_at, size_at, (struct ls_range){0, v_total}, begin + i, want);
        reference_mean(op, m->world, want);
        if (!right(m, op, leaf_at, want, begin + i, (uint8_t *)op->dst + (size_t)i * size)) {
            report(m, "reduction differs", op, i);
            break;
        }
    }
    if (m->options->any_order && !scatter)
        check_equal(m, op);
    for (int i = 0; i <= LS_MAX_MEMBERS; i++)
        ls_free(owned[i]);
}

static void run_gather(struct member *m, struct ls_collective *op, bool registered)
{
    int64_t counts[LS_MAX_MEMBERS];
    void *owned[2];
    size_t size = ls_dtype_size(op->dtype);
    uint64_t seed = suite_random(&m->random);
    struct ls_error err = LS_ERROR_INIT;
    int64_t total = 0;
    uint8_t *want;

    for (int r = 0; r < m->world; r++) {
        counts[r] = (int64_t)(suite_random(&m->random) % (uint64_t)(op->count + 1));
        total += counts[r];
    }
    op->src = take(m, registered, 1, (size_t)counts[m->rank] * size, &owned[0]);
    op->dst = take(m, registered, 0, (size_t)total * size, &owned[1]);
    op->counts = counts;
    want = ls_alloc((size_t)total * size + 1);
    for (int64_t r = 0, at = 0; r < m->world; at += counts[r++])
        reference_values(op->dtype, seed + (uint64_t)r, counts[r], want + (size_t)at * size);
    reference_values(op->dtype, seed + (uint64_t)m->rank, counts[m->rank], (void *)(uintptr_t)op->src);
    check_status(m, op, ls_group_run(m->group, op, &err), &err);
    if (memcmp(want, op->dst, (size_t)total * size) != 0)
        report(m, "gathered values differ", op, -1);
    ls_free(want);
    ls_free(owned[0]);
    ls_free(owned[1]);
}

static void run_broadcast(struct member *m, struct ls_collective *op, bool registered)
{
    void *owned;
    size_t bytes = (size_t)op->count * ls_dtype_size(op->dtype);
    uint64_t seed = suite_random(&m->random);
    struct ls_error err = LS_ERROR_INIT;
    uint8_t *want = ls_alloc(bytes + 1);

    op->root = below(&m->random, m->world);
    op->dst = take(m, registered, 0, bytes, &owned);
    reference_values(op->dtype, seed, op->count, want);
    memset(op->dst, 0xa5, bytes);
    if (m->rank == op->root)
        memcpy(op->dst, want, bytes);
    check_status(m, op, ls_group_run(m->group, op, &err), &err);
    if (memcmp(want, op->dst, bytes) != 0)
        report(m, "broadcast values differ", op, -1);
    ls_free(want);
    ls_free(owned);
}

/* Element k of what rank i gives rank j is element k of a stream of their own. */
static void run_exchange(struct member *m, struct ls_collective *op, bool registered)
{
    int64_t *counts = ls_alloc((size_t)(m->world * m->world) * sizeof *counts);
    void *owned[2];
    size_t size = ls_dtype_size(op->dtype);
    uint64_t seed = suite_random(&m->random);
    struct ls_error err = LS_ERROR_INIT;
    int64_t gives = 0, takes = 0, most = op->count / m->world;
    uint8_t *want;

    for (int i = 0; i < m->world * m->world; i++)
        counts[i] = below(&m->random, 4) == 0 ? 0 : (int64_t)(suite_random(&m->random) % (uint64_t)(most + 1));
    for (int r = 0; r < m->world; r++) {
        gives += counts[m->rank * m->world + r];
        takes += counts[r * m->world + m->rank];
    }
    op->counts = counts;
    op->src = take(m, registered, 1, (size_t)gives * size, &owned[0]);
    op->dst = take(m, registered, 0, (size_t)takes * size, &owned[1]);
    want = ls_alloc((size_t)takes * size + 1);
    for (int64_t r = 0, at = 0; r < m->world; at += counts[m->rank * m->world + r++])
        reference_values(op->dtype, seed + (uint64_t)(m->rank * m->world + r), counts[m->rank * m->world + r],
                         (uint8_t *)(uintptr_t)op->src + (size_t)at * size);
    for (int64_t r = 0, at = 0; r < m->world; at += counts[r++ * m->world + m->rank])
        reference_values(op->dtype, seed + (uint64_t)(r * m->world + m->rank), counts[r * m->world + m->rank],
                         want + (size_t)at * size);
    check_status(m, op, ls_group_run(m->group, op, &err), &err);
    if (memcmp(want, op->dst, (size_t)takes * size) != 0)
        report(m, "exchanged values differ", op, -1);
    ls_free(counts);
    ls_free(want);
    ls_free(owned[0]);
    ls_free(owned[1]);
}

static int64_t random_count(struct member *m)
{
    switch (below(&m->random, 6)) {
    case 0:
        return below(&m->random, 40);
    case 1:
    case 2:
        return below(&m->random, 3000);
    case 3:
        return below(&m->random, 50000);
    case 4:
        return (int64_t)(suite_random(&m->random) % (uint64_t)m->options->max_count);
    default:
        return 4096;
    }
}

/* Several operations under way, waited for in another order; results as if run one by one. */
static void run_overlapped(struct member *m)
{
    enum { MANY = 12 };
    float values[MANY][3][100];
    struct ls_request *requests[MANY];
    struct ls_error err = LS_ERROR_INIT;

    for (int k = 0; k < MANY; k++) {
        for (int i = 0; i < 100; i++)
            values[k][0][i] = (float)(m->rank + k * i);
        struct ls_collective op = {
            .kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = 100, .src = values[k][0], .dst = values[k][1]};
        enum ls_status status = ls_group_start(m->group, &op, &requests[k], &err);
        check_status(m, &op, status, &err);
        if (status != LS_OK)
            return;
    }
    for (int k = MANY - 1; k >= 0; k--) {
        struct ls_collective op = {.kind = LS_ALL_REDUCE, .dtype = LS_F32, .count = 100};
        enum ls_status status = (k & 1) != 0 ? ls_request_test(requests[k], &err) : LS_EAGAIN;
        if (status == LS_EAGAIN)
            status = ls_request_wait(requests[k], &err);
        check_status(m, &op, status, &err);
        for (int i = 0; i < 100; i++)
            if (values[k][1][i] != (float)(m->world * (m->world - 1) / 2 + m->world * k * i)) {
                report(m, "overlapped sums differ", &op, i);
                break;
            }
    }
}

static void run_round(struct member *m)
{
    static const enum ls_dtype dtypes[] = {LS_F32, LS_F32, LS_F64, LS_I64, LS_BF16, LS_I32, LS_F16};
    struct ls_tree_layout layout;
    struct ls_error err = LS_ERROR_INIT;
    struct ls_collective op = {.kind = (enum ls_collective_kind)below(&m->random, LS_BARRIER + 2),
                               .dtype = dtypes[below(&m->random, 7)],
                               .reduction = (enum ls_reduction)(below(&m->random, 2) * below(&m->random, 5))};
    bool registered = below(&m->random, 2);

    op.count = random_count(m);
    if (op.reduction == LS_MEAN && (op.dtype == LS_I32 || op.dtype == LS_I64))
        op.reduction = LS_SUM;
    switch ((int)op.kind) {
    case LS_ALL_REDUCE_TREE:
    case LS_BARRIER + 1:
        op.kind = op.kind == LS_ALL_REDUCE_TREE || below(&m->random, 2) ? LS_ALL_REDUCE_TREE : LS_REDUCE_SCATTER;
        suite_layout(&m->random, m->world, &layout);
        while ((int64_t)layout.range_count * op.count > 4 * m->options->max_count)
            op.count /= 2;
        run_tree(m, &layout, &op, registered);
        break;
    case LS_ALL_REDUCE:
    case LS_REDUCE_SCATTER:
        run_flat(m, &op, registered);
        break;
    case LS_ALL_GATHER:
        run_gather(m, &op, registered);
        break;
    case LS_BROADCAST:
        run_broadcast(m, &op, registered);
        break;
    case LS_ALL_TO_ALL:
        run_exchange(m, &op, registered);
        break;
    default:
        check_status(m, &op, ls_group_run(m->group, &op, &err), &err);
    }
}

/* Every third rank with its like, in falling order, and one rank nowhere; the sub-groups run the suite too, and the
 * group works as before. */
static void run_split(struct member *m)
{
    struct suite_options options = *m->options;
    int nowhere = m->world > 2 ? below(&m->random, m->world) : -1;
    int color = m->rank == nowhere ? -1 : m->rank % 3, at = 0, size = 0;
    struct ls_collective barrier = {.kind = LS_BARRIER};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_group *split = NULL;

    options.seed++;
    options.rounds = 12;
    options.max_count /= 8;
    options.is_split = true;
    check_status(m, &barrier, ls_group_split(m->group, color, -m->rank, &split, &err), &err);
    for (int r = 0; r < m->world; r++) {
        size += r != nowhere && r % 3 == color;
        at += r != nowhere && r % 3 == color && r > m->rank;
    }
    if (m->failures > 0 || (color < 0) != (split == NULL) ||
        (split != NULL && (ls_group_world(split) != size || ls_group_rank(split) != at)))
        report(m, "a split went wrong", &barrier, -1);
    else if (split != NULL)
        m->failures += suite_run(split, &options);
    ls_group_destroy(split);
    check_status(m, &barrier, ls_group_run(m->group, &barrier, &err), &err);
}

/* One of each kind and size class; the values are the other rounds' business. */
static void run_each(struct member *m, float *src, float *dst)
{
    static const int64_t sizes[] = {2, 900, 30000, 150000};
    int64_t counts[LS_MAX_MEMBERS];
    struct ls_error err = LS_ERROR_INIT;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int kind = LS_ALL_REDUCE; kind <= LS_BROADCAST && m->failures == 0; kind++) {
            struct ls_collective op = {.kind = (enum ls_collective_kind)kind,
                                       .dtype = LS_F32,
                                       .count = sizes[i] / m->world * m->world,
                                       .src = src,
                                       .dst = dst,
                                       .counts = counts};
            for (int r = 0; r < m->world; r++)
                counts[r] = op.count / m->world;
            check_status(m, &op, ls_group_run(m->group, &op, &err), &err);
        }
}

/* What has run before allocates nothing. The virtual network does, a packet at a time. */
static void run_steady(struct member *m)
{
    struct ls_collective barrier = {.kind = LS_BARRIER};
    struct ls_error err = LS_ERROR_INIT;
    float *src = ls_alloc_aligned(150000 * sizeof *src), *dst = ls_alloc_aligned(150000 * sizeof *dst);

    for (int i = 0; i < 3; i++)
        run_each(m, src, dst);
    check_status(m, &barrier, ls_group_run(m->group, &barrier, &err), &err);
    uint64_t before = ls_alloc_count();
    run_each(m, src, dst);
    /* All members of this process are between the two barriers. */
    if (ls_alloc_count() != before && strcmp(ls_group_provider(m->group), "sim") != 0)
        report(m, "allocations in a steady state", &barrier, (int64_t)(ls_alloc_count() - before));
    check_status(m, &barrier, ls_group_run(m->group, &barrier, &err), &err);
    ls_free(src);
    ls_free(dst);
}

int suite_run(struct ls_group *group, const struct suite_options *options)
{
    struct member m = {.group = group,
                       .options = options,
                       .rank = ls_group_rank(group),
                       .world = ls_group_world(group),
                       .random = options->seed,
                       .room = (size_t)options->max_count * 8 + 64};
    struct ls_error err = LS_ERROR_INIT;
    void *memory;

    if (ls_group_register(group, m.room * SHARED_BUFFERS, &memory, &err) != LS_OK) {
        fprintf(stderr, "rank %d: %s\n", m.rank, err.message);
        return 1;
    }
    m.shared = memory;
    for (int i = 0; i < options->rounds && m.failures == 0; i++)
        run_round(&m);
    if (m.failures == 0)
        run_overlapped(&m);
    if (m.failures == 0 && !options->is_split)
        run_steady(&m);
    if (m.failures == 0 && !options->is_split)
        run_split(&m);
    return m.failures;
}
