/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the questions of known_answer_table.c to a device. Inputs come from Philox by integer operations alone, so that
 * a wrong floating-point mode shows in the answers and not in the questions; runs of them are denormal.
 */
#include "core/device/known_answer.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/philox.h"
#include "core/device/device_internal.h"
#include "core/device/known_answer_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define ARENA_BYTES ((size_t)512 * 1024)
#define NUMERICS 1 /* the version whose answers these are */
#define MAX_OPERANDS 8
#define LEAVES 5

static const char *const names[LSI_QUESTION_KINDS] = {
#define QUESTION_NAME(code, name, inputs, outputs) [code] = name,
    LS_OP_LIST(QUESTION_NAME)
#undef QUESTION_NAME
        [LSI_ARITHMETIC] = "arithmetic",
    [LSI_SGD] = "sgd",
    [LSI_ADAM] = "adam",
    [LSI_TREE_SUM] = "tree_sum",
    [LSI_TREE_MOMENTS] = "tree_moments",
    [LSI_FINGERPRINT] = "fingerprint",
};

/* Operands of one question after another in the same memory. */
struct arena {
    char *memory;
    size_t used;
};

static void *take(struct arena *arena, size_t bytes)
{
    void *place = arena->memory + arena->used;

    arena->used += (bytes + 63) / 64 * 64;
    assert(arena->used <= ARENA_BYTES);
    return place;
}

static void next_words(const struct lsi_question *q, int operand, int64_t block, uint32_t words[4])
{
    const char *name = names[q->what];
    uint64_t key = ls_xxh3(name, strlen(name), (uint64_t)q->variant);
    struct ls_philox_key philox = {{(uint32_t)key, (uint32_t)(key >> 32)}};
    uint32_t counter[4] = {(uint32_t)block, (uint32_t)operand, 0, 0};

    ls_philox(philox, counter, words);
}

/* Denormal in the first eighth of the elements of operand 0, and in some columns of each operand, half of which are
 * other columns than the operand's before. */
static bool tiny(int operand, int64_t at, int64_t count, int64_t columns)
{
    int64_t width = columns / 8, begin = operand * (columns / 16), column = at % columns;

    return (operand == 0 && at < count / 8) || (column >= begin && column < begin + width);
}

static float float_of(uint32_t word, bool denormal, const struct lsi_question *q)
{
    uint32_t bits = word & 0x807fffffu;
    float value = (float)((int32_t)(word >> 8) - (1 << 23)) * 0x1p-22f; /* exact, in [-2, 2) */

    if (!denormal)
        return q->scale == 0 ? value : value * q->scale;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void fill(const struct lsi_question *q, int operand, const struct lsi_operand *kind, struct ls_view *view)
{
    int64_t count = ls_shape_count(&view->shape);
    int64_t columns = view->shape.rank > 0 ? view->shape.dim[view->shape.rank - 1] : 1;

    for (int64_t i = 0; i < count; i += 4) {
        uint32_t words[4];

        next_words(q, operand, i / 4, words);
        for (int64_t k = i; k < count && k < i + 4; k++) {
            uint32_t word = words[k - i];

            if (view->dtype == LS_I32)
                ((int32_t *)view->data)[k] = (int32_t)(word % LSI_QUESTION_CLASSES);
            else if (view->dtype == LS_BF16)
                ((uint16_t *)view->data)[k] = (uint16_t)(word >> 16);
            else if (view->dtype == LS_I64)
                ((int64_t *)view->data)[k] = (int64_t)((uint64_t)word * word);
            else
                ((float *)view->data)[k] =
                    float_of(kind->positive ? word | 0x80000000u : word, tiny(operand, k, count, columns), q);
        }
        for (int64_t k = i; kind->positive && k < count && k < i + 4; k++)
            ((float *)view->data)[k] = fabsf(((float *)view->data)[k]);
    }
}

static struct ls_view make(struct arena *arena, const struct lsi_operand *kind)
{
    struct ls_view view = {kind->dtype, kind->shape, NULL};

    view.data = take(arena, ls_view_bytes(&view));
    return view;
}

static float *make_floats(struct arena *arena, const struct lsi_question *q, int operand, char letter)
{
    const struct lsi_operand *kind = lsi_question_operand(letter);
    struct ls_view view = make(arena, kind);

    fill(q, operand, kind, &view);
    return view.data;
}

/* The arithmetic of the calling thread as it is: rounding, denormals read and written. Nothing may be folded. */
static uint64_t ask_arithmetic(void)
{
    static volatile float in[] = {0x1p-149f, 0x1.8p-127f, 0x1p-126f, 1.0f, 0x1.000002p0f, 0x1p-24f, -0x1p-24f, 3.0f};
    static volatile double wide[] = {0x1p-1074, 0x1p-1022, 1.0, 3.0};
    float out[10];
    double out_wide[3];

    out[0] = in[0] + in[0];
    out[1] = in[1] * in[3];
    out[2] = in[2] * 0.75f;
    out[3] = in[3] + in[5];
    out[4] = in[4] + in[5];
    out[5] = in[6] - in[3];
    out[6] = in[3] / in[7];
    out[7] = sqrtf(in[0]);
    out[8] = fmaf(in[4], in[4], -in[3]);
    out[9] = in[2] - in[1];
    out_wide[0] = wide[0] + wide[0];
    out_wide[1] = wide[1] * 0.75;
    out_wide[2] = wide[2] / wide[3];
    return ls_xxh3(out, sizeof out, ls_xxh3(out_wide, sizeof out_wide, 0));
}

static uint64_t digest_of(const struct ls_view *view)
{
    int64_t count = ls_shape_count(&view->shape);

    for (int64_t i = 0; view->dtype == LS_F32 && i < count; i++) {
        uint32_t *bits = (uint32_t *)view->data + i;

        if ((*bits & 0x7fffffffu) > 0x7f800000u)
            *bits = 0x7fc00000u;
    }
    return ls_xxh3(view->data, ls_view_bytes(view), 0);
}

static uint64_t digest_floats(float *data, int64_t count)
{
    struct ls_view view = {LS_F32, LS_SHAPE(count), data};

    return digest_of(&view);
}

static uint64_t ask_optimizer(struct ls_device *device, const struct lsi_question *q, struct arena *arena)
{
    int64_t count = ls_shape_count(&lsi_question_operand('e')->shape);
    float *w = make_floats(arena, q, 0, 'e'), *g = make_floats(arena, q, 1, 'e');
    float *m = make_floats(arena, q, 2, 'e'), *v = make_floats(arena, q, 3, 'V');

    if (q->what == LSI_SGD) {
        struct ls_sgd_args sgd = {.count = count, .w = w, .g = g, .v = m, .w_out = w, .v_out = m, .nesterov = true};

        sgd.learning_rate = 0x1.99999ap-4f;
        sgd.momentum = 0x1.ccccccp-1f;
        ls_device_sgd(device, &sgd);
    } else {
        struct ls_adam_args adam = {
            .count = count, .w = w, .g = g, .m = m, .v = v, .w_out = w, .m_out = m, .v_out = v, .alpha = 0x1p-10f};

        adam.keep1 = 1.0f - 0x1.ccccccp-1f;
        adam.keep2 = 1.0f - 0x1.ff7ceep-1f;
        adam.epsilon = 0x1.ad7f2ap-24f;
        ls_device_adam(device, &adam);
    }
    return digest_floats(w, count) ^ digest_floats(m, count) * 3 ^ digest_floats(v, count) * 5;
}

static uint64_t ask_tree(struct ls_device *device, const struct lsi_question *q, struct arena *arena)
{
    struct ls_range ranges[LEAVES] = {{0, 1}, {1, 1}, {2, 2}, {4, 1}, {6, 2}};
    bool moments = q->what == LSI_TREE_MOMENTS;
    int64_t count = moments ? LSI_QUESTION_CLASSES : ls_shape_count(&lsi_question_operand('e')->shape);
    struct ls_tree_program program;
    const void *leaves[LEAVES];
    float *out = take(arena, (size_t)count * 3 * sizeof(float));

    ls_tree_program_build(ranges, LEAVES, 8, &program);
    for (int i = 0; i < LEAVES; i++) {
        float *leaf = make_floats(arena, q, i, moments ? 'm' : 'e');

        for (int64_t c = 0; moments && c < count; c++)
            leaf[c] = (float)(i + 2);
        leaves[i] = leaf;
    }
    if (!moments)
        ls_device_tree_sum(device, LS_F32, &program, leaves, out, count);
    else
        ls_device_tree_moments(device, &program, leaves, out, count);
    return digest_floats(out, moments ? 3 * count : count);
}

static enum ls_status ask_op(struct ls_device *device, const struct lsi_question *q, struct arena *arena,
                             uint64_t *digest, struct ls_error *err)
{
    struct ls_view in[MAX_OPERANDS], out = make(arena, lsi_question_operand(q->out));
    struct ls_shards shards = ls_shards_of(q->samples, q->samples < 8 ? 2 : 8, 0, q->samples < 8 ? 2 : 8);
    struct ls_step_info step = {.seed = 7, .step = 11, .training = true};
    struct ls_op_call call = {.op = (enum ls_op)q->what,
                              .attrs = &q->attrs,
                              .in = in,
                              .in_count = (int)strlen(q->in),
                              .out = &out,
                              .out_count = 1,
                              .shards = q->samples > 0 ? &shards : NULL,
                              .step = &step};
    enum ls_status status;
    size_t bytes;

    assert(call.in_count <= MAX_OPERANDS);
    for (int i = 0; i < call.in_count; i++) {
        in[i] = make(arena, lsi_question_operand(q->in[i]));
        fill(q, i, lsi_question_operand(q->in[i]), &in[i]);
    }
    bytes = ls_device_workspace(device, &call);
    call.workspace = bytes > 0 ? ls_alloc_aligned(bytes) : NULL;
    if (bytes > 0 && call.workspace == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to test the device %s", ls_device_name(device));
    status = ls_device_run(device, &call, err);
    ls_free(call.workspace);
    if (status == LS_OK)
        *digest = digest_of(&out);
    return status;
}

static enum ls_status ask(struct ls_device *device, const struct lsi_question *q, struct arena *arena, uint64_t *digest,
                          struct ls_error *err)
{
    arena->used = 0;
    switch (q->what) {
    case LSI_ARITHMETIC:
        *digest = ask_arithmetic();
        return LS_OK;
    case LSI_SGD:
    case LSI_ADAM:
        *digest = ask_optimizer(device, q, arena);
        return LS_OK;
    case LSI_TREE_SUM:
    case LSI_TREE_MOMENTS:
        *digest = ask_tree(device, q, arena);
        return LS_OK;
    case LSI_FINGERPRINT:
        *digest = ls_device_fingerprint_f32(device, make_floats(arena, q, 0, 'w'),
                                            ls_shape_count(&lsi_question_operand('w')->shape), 5);
        return LS_OK;
    default:
        return ask_op(device, q, arena, digest, err);
    }
}

/* What `math: fast` computes in a library's order has no known answer. */
static bool skipped(const struct lsi_question *q, bool fast)
{
    return fast && (q->what == LS_OP_DENSE || q->what == LS_OP_DENSE_WGRAD);
}

enum ls_status ls_device_known_answers(struct ls_device *device, struct ls_known_answer *answers, int *count,
                                       struct ls_error *err)
{
    struct arena arena = {.memory = ls_alloc_aligned(ARENA_BYTES)};
    enum ls_status status = LS_OK;

    *count = 0;
    if (arena.memory == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to test the device %s", ls_device_name(device));
    for (int i = 0; i < lsi_question_count && status == LS_OK; i++) {
        const struct lsi_question *q = &lsi_questions[i];
        struct ls_known_answer *answer = &answers[*count];

        if (skipped(q, device->blas != NULL))
            continue;
        *answer = (struct ls_known_answer){.name = names[q->what], .expected = q->expected};
        status = ask(device, q, &arena, &answer->digest, err);
        (*count)++;
    }
    ls_free(arena.memory);
    return status == LS_OK ? status : ls_error_wrap(err, "testing the device %s", ls_device_name(device));
}

enum ls_status ls_device_check_known_answers(struct ls_device *device, uint64_t *digest, struct ls_error *err)
{
    struct ls_known_answer answers[LS_KNOWN_ANSWERS_MAX];
    uint64_t digests[LS_KNOWN_ANSWERS_MAX];
    int count;
    enum ls_status status = ls_device_known_answers(device, answers, &count, err);

    for (int i = 0; i < count && status == LS_OK; i++) {
        digests[i] = answers[i].digest;
        if (answers[i].digest != answers[i].expected)
            return ls_error_set(err, LS_EUNSUPPORTED,
                                "the device %s gives a wrong answer for %s (%016" PRIx64 " instead of %016" PRIx64
                                "): denormals are flushed, the build is wrong or the processor is faulty; train on "
                                "another machine, or see whether LOCKSTEP_ISA=ref is right",
                                ls_device_name(device), answers[i].name, answers[i].digest, answers[i].expected);
    }
    if (status == LS_OK)
        *digest = ls_xxh3(digests, (size_t)count * sizeof *digests, NUMERICS);
    return status;
}

uint64_t ls_known_answers_digest(bool fast)
{
    uint64_t digests[LS_KNOWN_ANSWERS_MAX];
    size_t count = 0;

    for (int i = 0; i < lsi_question_count; i++)
        if (!skipped(&lsi_questions[i], fast))
            digests[count++] = lsi_questions[i].expected;
    return ls_xxh3(digests, count * sizeof *digests, NUMERICS);
}
