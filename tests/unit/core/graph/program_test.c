/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs against eager execution, bit for bit, with a batch in one call or in several: a model with tied weights,
 * dropout, batch normalisation (so segments), shared layers and metrics.
 */
#include "core/graph/program.h"

#include "core/autodiff/gradient.h"
#include "core/base/alloc.h"
#include "core/ops/batch_norm.h"
#include "core/ops/ops.h"
#include "tests/support/gradcheck.h"

#include <criterion/criterion.h>
#include <string.h>

enum { FEATURES = 19, HIDDEN = 11, CLASSES = 6, VARIABLES = 6, OUTPUTS = VARIABLES + 3, MOST = 64, LIMIT = 32 };

/* w1, b1, gamma, beta, w2 (tied with the decoder's), b2 */
static const struct ls_shape shapes[VARIABLES] = {
    {.rank = 2, .dim = {FEATURES, HIDDEN}}, {.rank = 1, .dim = {HIDDEN}},          {.rank = 1, .dim = {HIDDEN}},
    {.rank = 1, .dim = {HIDDEN}},           {.rank = 2, .dim = {HIDDEN, CLASSES}}, {.rank = 1, .dim = {CLASSES}}};

struct world {
    struct ls_device *device;
    int64_t samples;
    int shards;
    float *x;
    int32_t *labels;
    float seed;
    float *variables[VARIABLES];
    struct ls_step_info step;
    bool plain; /* without dropout and batch normalisation: one segment */
    int again;  /* times more than once that the tied layers are gone through */
};

static struct world world_create(const char *device, int64_t samples, int shards)
{
    struct world w = {.samples = samples, .shards = shards, .step = {.seed = 9, .step = 4, .training = true}};
    struct ls_device_options options = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_error err = LS_ERROR_INIT;

    options.threads = strcmp(device, "cpu") == 0 ? 2 : 1;
    lst_ok(ls_device_open(device, &options, &w.device, &err), &err, "device");
    w.x = lst_floats(samples * FEATURES, 1, -1, 1);
    w.labels = ls_alloc_zeroed((size_t)samples, sizeof(int32_t));
    for (int64_t i = 0; i < samples; i++)
        w.labels[i] = (int32_t)(i * 7 % CLASSES);
    w.seed = 1.0f / (float)samples;
    for (int v = 0; v < VARIABLES; v++)
        w.variables[v] = lst_floats(ls_shape_count(&shapes[v]), 10 + (uint64_t)v, -0.7, 0.9);
    return w;
}

static void world_destroy(struct world *w)
{
    ls_device_close(w->device);
    ls_free(w->x);
    ls_free(w->labels);
    for (int v = 0; v < VARIABLES; v++)
        ls_free(w->variables[v]);
}

static void enter(const struct world *w, struct ls_context *context, struct ls_value **in, struct ls_value **variables)
{
    const struct ls_shards *shards = ls_context_shards(context);
    int64_t n = shards->offset[shards->count], first = shards->first_sample;
    struct ls_error err = LS_ERROR_INIT;

    lst_ok(ls_value_input(context, 0, LS_F32, &LS_SHAPE(n, FEATURES), LS_PER_SAMPLE, 1, w->x + first * FEATURES, &in[0],
                          &err),
           &err, "x");
    lst_ok(ls_value_input(context, 1, LS_I32, &LS_SHAPE(n), LS_PER_SAMPLE, 1, w->labels + first, &in[1], &err), &err,
           "labels");
    lst_ok(ls_value_input(context, 2, LS_F32, &LS_SHAPE_SCALAR, LS_REPLICATED, 0, (void *)&w->seed, &in[2], &err), &err,
           "seed");
    for (int v = 0; v < VARIABLES; v++)
        lst_ok(ls_value_variable(context, v, LS_F32, &shapes[v], w->variables[v], &variables[v], &err), &err, "v");
}

/* Loss per sample; the second layer is used three times, once transposed (two times more for each `again`). mean: of
 * the batch normalisation. */
static struct ls_value *forward(const struct world *w, struct ls_context *context, struct ls_value *const *in,
                                struct ls_value *const *v, struct ls_value **mean)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_op_attrs dropout = {.dropout = {.rate = 0.3f, .stream = 1}}, back = {.dense = {.transposed_w = true}};
    struct ls_value *h = NULL, *var = NULL, *logits = NULL, *again[2];

    lst_ok(ls_dense(context, in[0], v[0], v[1], LS_ACTIVATION_RELU, &h, &err), &err, "dense");
    *mean = v[1];
    if (!w->plain) {
        h = lst_apply(context, LS_OP_DROPOUT, &dropout, &h, 1);
        lst_ok(ls_batch_norm_train(context, h, v[2], v[3], 1e-3f, &h, mean, &var, &err), &err, "batch norm");
    }
    for (int i = 0; i <= w->again; i++) {
        lst_ok(ls_dense(context, h, v[4], v[5], LS_ACTIVATION_NONE, &logits, &err), &err, "dense");
        again[0] = lst_op1(context, LS_OP_TANH, logits);
        again[1] = v[4];
        h = lst_op2(context, LS_OP_ADD, h, lst_apply(context, LS_OP_DENSE, &back, again, 2));
    }
    lst_ok(ls_dense(context, h, v[4], v[5], LS_ACTIVATION_NONE, &logits, &err), &err, "dense");
    h = lst_op2(context, LS_OP_SPARSE_SOFTMAX_XENT, logits, in[1]);
    return h;
}

/* Outputs: gradients, the sum of losses, the mean, and the loss of each sample last. */
static void build(const struct world *w, struct ls_context *context, struct ls_value **outputs)
{
    struct ls_value *in[3], *v[VARIABLES], *mean = NULL, *loss, *scaled;
    struct ls_error err = LS_ERROR_INIT;

    enter(w, context, in, v);
    loss = forward(w, context, in, v, &mean);
    scaled = lst_op2(context, LS_OP_MUL, loss, in[2]);
    lst_ok(ls_gradient(context, &scaled, NULL, 1, v, VARIABLES, outputs, &err), &err, "gradient");
    for (int i = 0; i < VARIABLES; i++)
        if (outputs[i] == NULL) {
            cr_assert(w->plain && (i == 2 || i == 3));
            outputs[i] = v[i];
        }
    outputs[VARIABLES] = lst_op1(context, LS_OP_REDUCE, lst_op1(context, LS_OP_SUM_F64, loss));
    outputs[VARIABLES + 1] = mean;
    outputs[VARIABLES + 2] = loss;
}

struct result {
    void *data[OUTPUTS];
    size_t bytes[OUTPUTS];
};

static void result_destroy(struct result *r)
{
    for (int o = 0; o < OUTPUTS; o++)
        ls_free(r->data[o]);
}

static void keep(struct result *r, int o, const struct ls_view *view)
{
    r->bytes[o] = ls_view_bytes(view);
    r->data[o] = ls_alloc_aligned(r->bytes[o]);
    memcpy(r->data[o], view->data, r->bytes[o]);
}

static struct result run_eager(const struct world *w)
{
    struct ls_context_options options = {
        .device = w->device, .shards = ls_shards_of(w->samples, w->shards, 0, w->shards), .step = w->step};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_context *context = NULL;
    struct ls_value *outputs[OUTPUTS];
    struct result r = {0};

    lst_ok(ls_context_create(&options, &context, &err), &err, "context");
    build(w, context, outputs);
    for (int o = 0; o < OUTPUTS; o++) {
        struct ls_view view = ls_value_view(outputs[o]);

        keep(&r, o, &view);
    }
    ls_context_destroy(context);
    return r;
}

/* One call of several: its program and the memory it needs. */
struct call {
    struct ls_shards shards;
    struct ls_program *program;
    const void *inputs[3], *variables[VARIABLES];
    void *partials[LIMIT], *reduced[LIMIT], *outputs[OUTPUTS], *arena;
    struct ls_program_buffers buffers;
    int ready[LIMIT], ready_count;
};

static void on_partial(void *state, int reduce)
{
    struct call *c = state;

    c->ready[c->ready_count++] = reduce;
}

static size_t shape_bytes(enum ls_dtype dtype, const struct ls_shape *shape)
{
    return (size_t)ls_shape_count(shape) * ls_dtype_size(dtype);
}

static void call_create(struct call *c, const struct world *w, int first, int count)
{
    struct ls_context_options options = {.device = w->device, .traced = true, .step = w->step};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_context *context = NULL;
    struct ls_value *outputs[OUTPUTS];

    *c = (struct call){.shards = ls_shards_of(w->samples, w->shards, first, count)};
    options.shards = c->shards;
    lst_ok(ls_context_create(&options, &context, &err), &err, "context");
    build(w, context, outputs);
    lst_ok(ls_program_compile(context, outputs, OUTPUTS, w->device, &c->program, &err), &err, "compile");
    ls_context_destroy(context);
    cr_assert_leq(ls_program_reduce_count(c->program), LIMIT);
    for (int r = 0; r < ls_program_reduce_count(c->program); r++) {
        const struct ls_program_reduce *reduce = ls_program_reduce_at(c->program, r);

        c->partials[r] = ls_alloc_aligned(shape_bytes(reduce->dtype, &reduce->shape));
        c->reduced[r] = ls_alloc_aligned(shape_bytes(reduce->dtype, &reduce->shape));
    }
    for (int o = 0; o < OUTPUTS; o++) {
        const struct ls_program_output *output = ls_program_output_at(c->program, o);

        c->outputs[o] = ls_alloc_aligned(shape_bytes(output->dtype, &output->shape));
    }
    c->arena = ls_alloc_aligned(ls_program_arena_bytes(c->program));
    memset(c->arena, 0xa5, ls_program_arena_bytes(c->program));
    c->inputs[0] = w->x + c->shards.first_sample * FEATURES;
    c->inputs[1] = w->labels + c->shards.first_sample;
    c->inputs[2] = &w->seed;
    for (int v = 0; v < VARIABLES; v++)
        c->variables[v] = w->variables[v];
    c->buffers = (struct ls_program_buffers){.inputs = c->inputs,
                                             .variables = c->variables,
                                             .partials = c->partials,
                                             .reduced = (const void *const *)c->reduced,
                                             .outputs = c->outputs,
                                             .arena = c->arena,
                                             .shards = &c->shards,
                                             .step = &w->step,
                                             .on_partial = on_partial,
                                             .on_partial_state = c};
}

static void call_destroy(struct call *c)
{
    for (int r = 0; r < ls_program_reduce_count(c->program); r++) {
        ls_free(c->partials[r]);
        ls_free(c->reduced[r]);
    }
    for (int o = 0; o < OUTPUTS; o++)
        ls_free(c->outputs[o]);
    ls_free(c->arena);
    ls_program_destroy(c->program);
}

/* What a collective does between segments. */
static void reduce_all(const struct world *w, struct call *calls, int count, int r)
{
    const struct ls_program_reduce *reduce = ls_program_reduce_at(calls[0].program, r);
    const void *leaves[MOST];
    struct ls_range ranges[MOST];
    struct ls_tree_program tree;

    for (int c = 0; c < count; c++) {
        ranges[c] = (struct ls_range){.first = calls[c].shards.first, .count = calls[c].shards.count};
        leaves[c] = calls[c].partials[r];
    }
    ls_tree_program_build(ranges, count, w->shards, &tree);
    if (reduce->moments)
        ls_device_tree_moments(w->device, &tree, leaves, calls[0].reduced[r], reduce->shape.dim[1]);
    else
        ls_device_tree_sum(w->device, reduce->dtype, &tree, leaves, calls[0].reduced[r],
                           ls_shape_count(&reduce->shape));
    for (int c = 1; c < count; c++)
        memcpy(calls[c].reduced[r], calls[0].reduced[r], shape_bytes(reduce->dtype, &reduce->shape));
}

static void run_segments(const struct world *w, struct call *calls, int count)
{
    struct ls_error err = LS_ERROR_INIT;
    int reduced = 0;

    for (int segment = 0; segment < ls_program_segment_count(calls[0].program); segment++) {
        for (int c = 0; c < count; c++) {
            ls_alloc_fail_after(1); /* nothing may be allocated */
            lst_ok(ls_program_run(calls[c].program, segment, &calls[c].buffers, &err), &err, "run");
            ls_alloc_fail_after(0);
        }
        for (; reduced < calls[0].ready_count; reduced++) {
            cr_assert_eq(calls[0].ready[reduced], reduced, "reduces become ready in the order of their numbers");
            cr_assert_eq(ls_program_reduce_at(calls[0].program, reduced)->segment, segment);
            reduce_all(w, calls, count, reduced);
        }
    }
    cr_assert_eq(reduced, ls_program_reduce_count(calls[0].program));
}

/* The batch in calls of `width` shards; calls without a sample are left out, as every plan does. */
static struct result run_traced(const struct world *w, int width)
{
    struct call *calls = ls_alloc_zeroed(MOST, sizeof(*calls));
    struct result r = {0};
    int count = 0;

    for (int first = 0; first < w->shards; first += width)
        if (ls_shard_begin(w->samples, w->shards, first) < ls_shard_begin(w->samples, w->shards, first + width))
            call_create(&calls[count++], w, first, width);
    run_segments(w, calls, count);
    for (int o = 0; o < OUTPUTS; o++) {
        const struct ls_program_output *output = ls_program_output_at(calls[0].program, o);
        struct ls_view view = {.dtype = output->dtype,
                               .shape = output->shape,
                               .data = output->reduce >= 0 ? calls[0].reduced[output->reduce] : calls[0].outputs[o]};

        if (output->distribution == LS_REPLICATED) {
            keep(&r, o, &view);
            continue;
        }
        /* the samples of all calls, in order */
        r.bytes[o] = (size_t)w->samples * sizeof(float);
        r.data[o] = ls_alloc_aligned(r.bytes[o]);
        for (int c = 0; c < count; c++)
            memcpy((float *)r.data[o] + calls[c].shards.first_sample, calls[c].outputs[o],
                   (size_t)calls[c].shards.offset[width] * sizeof(float));
    }
    for (int c = 0; c < count; c++)
        call_destroy(&calls[c]);
    ls_free(calls);
    return r;
}

static void check_same(const struct result *a, const struct result *b, const char *what)
{
    for (int o = 0; o < OUTPUTS; o++) {
        cr_assert_eq(a->bytes[o], b->bytes[o], "%s: output %d", what, o);
        cr_assert_eq(memcmp(a->data[o], b->data[o], a->bytes[o]), 0, "%s: output %d has other bits", what, o);
    }
}

static void check_use(struct world *w, const char *what)
{
    struct result eager = run_eager(w);

    for (int width = 8; width >= 1; width /= 2) {
        struct result traced = run_traced(w, width);

        check_same(&eager, &traced, what);
        result_destroy(&traced);
    }
    result_destroy(&eager);
}

static void check_world(const char *device, int64_t samples, bool plain)
{
    struct world w = world_create(device, samples, 8);

    w.plain = plain;
    check_use(&w, device);
    world_destroy(&w);
}

/* An MLP's step gives the same bits eagerly and as a program, in 1, 2, 4 and 8 calls, on every device. */
Test(program, mlp_equals_eager)
{
    check_world("ref", 64, true);
    check_world("cpu", 64, true);
}

/* So does a step with dropout, tied weights and batch normalisation, which is cut into segments. */
Test(program, segments_equal_eager)
{
    check_world("ref", 64, false);
    check_world("cpu", 64, false);
}

/* So does a last batch that fills shards unevenly, and one with empty shards. */
Test(program, short_batches_equal_eager)
{
    check_world("ref", 61, false);
    check_world("ref", 5, false);
    check_world("cpu", 5, false);
    check_world("cpu", 1, true);
}

/* So does a step that uses a weight more often than one reduction has room for: a chain of reductions over the running
 * sums of the shards. */
Test(program, many_uses_equal_eager)
{
    static const char *const devices[] = {"ref", "cpu"};

    for (int d = 0; d < 2; d++) {
        struct world w = world_create(devices[d], 200, 8);

        w.again = 20;
        check_use(&w, devices[d]);
        world_destroy(&w);
    }
}

/* Devices agree on a whole step. */
Test(program, devices_agree)
{
    struct world a = world_create("ref", 50, 8), b = world_create("cpu", 50, 8);
    struct result x = run_eager(&a), y = run_eager(&b);

    check_same(&x, &y, "ref and cpu");
    result_destroy(&x);
    result_destroy(&y);
    world_destroy(&a);
    world_destroy(&b);
}

/* Batch normalisation cuts twice: statistics, then the backward sums; without it a step is one segment. */
Test(program, segment_count)
{
    struct world w = world_create("ref", 64, 8);
    struct call c;

    call_create(&c, &w, 0, 8);
    cr_assert_eq(ls_program_segment_count(c.program), 3);
    call_destroy(&c);
    w.plain = true;
    call_create(&c, &w, 0, 8);
    cr_assert_eq(ls_program_segment_count(c.program), 1);
    call_destroy(&c);
    world_destroy(&w);
}
