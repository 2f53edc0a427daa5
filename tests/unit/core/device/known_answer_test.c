/* SPDX-License-Identifier: Apache-2.0 */
/* Known answers: the same on every device, and a wrong kernel or floating-point mode is caught and named. */
#include "core/device/known_answer.h"

#include "core/device/device_impl.h"
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static void expect_right(struct ls_device *device, const char *name, void *state)
{
    struct ls_known_answer answers[LS_KNOWN_ANSWERS_MAX];
    struct ls_error err = LS_ERROR_INIT;
    int count = 0;

    (void)state;
    cr_assert_eq(ls_device_known_answers(device, answers, &count, &err), LS_OK, "%s", err.message);
    for (int i = 0; i < count; i++)
        cr_expect_eq(answers[i].digest, answers[i].expected, "%s on %s: %016" PRIx64 " instead of %016" PRIx64,
                     answers[i].name, name, answers[i].digest, answers[i].expected);
}

/* The reference and every instruction set of this processor, with one and two threads, give the written answers. */
Test(known_answer, every_device_gives_them)
{
    expect_right(lst_ref(), "ref", NULL);
    lst_each_device(expect_right, NULL);
}

/* Every op that computes is asked; what only moves or makes values is not needed to tell devices apart. */
Test(known_answer, no_op_is_forgotten)
{
    static const char *const others[] = {"reduce", "reshape", "concat", "slice", "pad_slice", "fill"};
    static const char *const ops[] = {
#define NAME(code, name, inputs, outputs) name,
        LS_OP_LIST(NAME)
#undef NAME
    };
    struct ls_known_answer answers[LS_KNOWN_ANSWERS_MAX];
    int count = 0;

    cr_assert_eq(ls_device_known_answers(lst_ref(), answers, &count, NULL), LS_OK);
    cr_assert_leq(count, LS_KNOWN_ANSWERS_MAX);
    for (size_t k = 0; k < sizeof ops / sizeof ops[0]; k++) {
        bool found = false;

        for (int i = 0; i < count; i++)
            found |= strcmp(answers[i].name, ops[k]) == 0;
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            found |= strcmp(others[i], ops[k]) == 0;
        cr_expect(found, "no question is asked of %s", ops[k]);
    }
}

/* The digest of a check is the one that is written, and differs where products are left out. */
Test(known_answer, the_digest_is_that_of_all_answers)
{
    struct ls_error err = LS_ERROR_INIT;
    uint64_t digest = 0;

    cr_assert_eq(ls_device_check_known_answers(lst_ref(), &digest, &err), LS_OK, "%s", err.message);
    cr_expect_eq(digest, ls_known_answers_digest(false));
    cr_expect_neq(digest, ls_known_answers_digest(true));
}

/* A device of the reference's kernels with one of them replaced. */
static struct ls_device *sick_device(enum ls_op op, lsi_kernel_fn run)
{
    static struct lsi_kernel table[LS_OP_COUNT];
    struct ls_device *device = NULL;

    cr_assert_eq(ls_device_open("ref", NULL, &device, NULL), LS_OK);
    memset(table, 0, sizeof table);
    table[op] = (struct lsi_kernel){.run = run, .workspace = lsi_ref_kernels()[op].workspace};
    lsi_device_prepend(device, table);
    return device;
}

static void expect_named(struct ls_device *device, const char *name)
{
    struct ls_error err = LS_ERROR_INIT;
    uint64_t digest = 0;

    cr_expect_eq(ls_device_check_known_answers(device, &digest, &err), LS_EUNSUPPORTED);
    cr_expect_not_null(strstr(err.message, name), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "device ref"), "%s", err.message);
    ls_device_close(device);
}

static enum ls_status wrong_softmax(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    enum ls_status status = lsi_ref_kernels()[LS_OP_SOFTMAX].run(device, call, err);

    ((uint32_t *)call->out[0].data)[200] ^= 1; /* the last bit of one element */
    return status;
}

/* One wrong bit of one kernel is found, and the kernel is named. */
Test(known_answer, names_a_wrong_kernel)
{
    expect_named(sick_device(LS_OP_SOFTMAX, wrong_softmax), "wrong answer for softmax ");
}

#if defined(__x86_64__)
#define FLUSH 0x8000u        /* results that are denormal become 0 */
#define DENORMALS_ZERO 0x40u /* denormal operands count as 0 */
static unsigned flushing;
static enum ls_op flushed_op;

/* As a library built with -ffast-math would leave the processor. */
static enum ls_status flushing_kernel(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    enum ls_status status;

    _mm_setcsr(_mm_getcsr() | flushing);
    status = lsi_ref_kernels()[flushed_op].run(device, call, err);
    _mm_setcsr(_mm_getcsr() & ~flushing);
    return status;
}

/* Flushed results and ignored denormal operands are each found in products, convolutions, reductions over the batch,
 * element-wise ops and optimizers, and named. */
Test(known_answer, names_the_op_that_flushes_denormals)
{
    static const struct {
        enum ls_op op;
        const char *name;
    } cases[] = {{LS_OP_ADD, " add "},
                 {LS_OP_MUL, " mul "},
                 {LS_OP_EXP, " exp "},
                 {LS_OP_DENSE, " dense "},
                 {LS_OP_DENSE_WGRAD, " dense_wgrad "},
                 {LS_OP_CONV2D, " conv2d "},
                 {LS_OP_CONV2D_XGRAD, " conv2d_xgrad "},
                 {LS_OP_CONV2D_WGRAD, " conv2d_wgrad "},
                 {LS_OP_ROW_SUM, " row_sum "},
                 {LS_OP_ROW_DOT, " row_dot "},
                 {LS_OP_MOMENTS, " moments "},
                 {LS_OP_BN_APPLY, " bn_apply "},
                 {LS_OP_SOFTMAX_GRAD, " softmax_grad "},
                 {LS_OP_ROW_REDUCE_SUM, " row_reduce_sum "}};

    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        flushing = i % 2 == 0 ? FLUSH : DENORMALS_ZERO;
        flushed_op = cases[i / 2].op;
        if (flushed_op == LS_OP_EXP && flushing == DENORMALS_ZERO)
            continue; /* exp of a denormal is 1 as that of 0 */
        expect_named(sick_device(flushed_op, flushing_kernel), cases[i / 2].name);
    }
}

/* A thread whose mode flushes, or rounds another way, is found before any kernel has set it right. */
Test(known_answer, names_a_wrong_mode_of_the_thread)
{
    static const unsigned modes[] = {FLUSH, DENORMALS_ZERO, 0x2000u, 0x4000u, 0x6000u};

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct ls_device *device = NULL;

        cr_assert_eq(ls_device_open("ref", NULL, &device, NULL), LS_OK);
        _mm_setcsr(_mm_getcsr() | modes[i]);
        expect_named(device, "wrong answer for arithmetic ");
        _mm_setcsr(0x1f80u);
    }
}
#endif
