/* SPDX-License-Identifier: Apache-2.0 */
/* What a program prunes, where it puts values, and what it refuses. */
#include "core/graph/program.h"

#include "core/base/alloc.h"
#include "core/ops/ops.h"
#include "tests/support/gradcheck.h"

#include <criterion/criterion.h>
#include <string.h>

struct fixture {
    struct ls_device *device;
    struct ls_context *context;
    struct ls_value *x, *w;
    struct ls_shards shards;
    struct ls_step_info step;
    struct ls_error err;
    float *data;
};

static struct fixture setup(bool is_traced)
{
    struct fixture f = {.shards = ls_shards_of(8, 4, 0, 4), .err = LS_ERROR_INIT};
    struct ls_device_options device = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_context_options options = {.traced = is_traced, .shards = f.shards};

    f.data = lst_floats(8 * 16, 5, -1, 1);
    lst_ok(ls_device_open("ref", &device, &options.device, &f.err), &f.err, "device");
    f.device = options.device;
    lst_ok(ls_context_create(&options, &f.context, &f.err), &f.err, "context");
    lst_ok(ls_value_input(f.context, 0, LS_F32, &LS_SHAPE(8, 16), LS_PER_SAMPLE, 1, f.data, &f.x, &f.err), &f.err, "x");
    lst_ok(ls_value_variable(f.context, 0, LS_F32, &LS_SHAPE(16), f.data, &f.w, &f.err), &f.err, "w");
    return f;
}

static void finish(struct fixture *f)
{
    ls_context_destroy(f->context);
    ls_device_close(f->device);
    ls_free(f->data);
}

static struct ls_program *compile(struct fixture *f, struct ls_value *const *outputs, int count)
{
    struct ls_program *program = NULL;

    lst_ok(ls_program_compile(f->context, outputs, count, f->device, &program, &f->err), &f->err, "compile");
    return program;
}

static int lines_with(const struct ls_program *program, const char *word)
{
    char *text = ls_program_text(program);
    int count = 0;

    cr_assert_not_null(text);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word))
        count++;
    ls_free(text);
    return count;
}

/* Runs one segment of the program on the fixture's data. */
static void run(struct fixture *f, struct ls_program *program, void **partials, void **outputs)
{
    const void *inputs[] = {f->data}, *variables[] = {f->data};
    void *arena = ls_alloc_aligned(ls_program_arena_bytes(program));
    struct ls_program_buffers buffers = {.inputs = inputs,
                                         .variables = variables,
                                         .partials = partials,
                                         .outputs = outputs,
                                         .arena = arena,
                                         .shards = &f->shards,
                                         .step = &f->step};

    lst_ok(ls_program_run(program, 0, &buffers, &f->err), &f->err, "run");
    ls_free(arena);
}

/* A chain of any length needs room for two values: a place is used again when its value is dead. */
Test(memory, reused)
{
    struct fixture f = setup(true);
    struct ls_value *y = f.x;
    struct ls_program *program;

    for (int i = 0; i < 20; i++)
        y = lst_op1(f.context, LS_OP_TANH, y);
    program = compile(&f, &y, 1);
    cr_assert_eq(ls_program_arena_bytes(program), 2 * 8 * 16 * sizeof(float));
    ls_program_destroy(program);
    finish(&f);
}

/* What no output needs is not run; a reshape is another name of the same bytes. */
Test(memory, pruned)
{
    struct fixture f = setup(true);
    struct ls_value *y = lst_op1(f.context, LS_OP_NEG, f.x);
    struct ls_program *program;

    lst_op1(f.context, LS_OP_EXP, y);
    y = lst_reshape(f.context, y, LS_SHAPE(16, 8));
    y = lst_op1(f.context, LS_OP_TANH, y);
    program = compile(&f, &y, 1);
    cr_assert_eq(lines_with(program, "segment 0: "), 2);
    cr_assert_eq(lines_with(program, "exp"), 0);
    cr_assert_eq(lines_with(program, "reshape"), 0);
    ls_program_destroy(program);
    finish(&f);
}

/* An output may be listed twice, be reshaped, an input, a variable or a constant: each gets its bytes. */
Test(memory, outputs_of_every_kind)
{
    struct fixture f = setup(true);
    struct ls_value *y = lst_op1(f.context, LS_OP_NEG, f.x), *constant = NULL;
    float numbers[] = {3, 4}, *got[6];
    struct ls_program *program;

    lst_ok(ls_value_constant(f.context, LS_F32, &LS_SHAPE(2), numbers, &constant, &f.err), &f.err, "constant");
    program =
        compile(&f, (struct ls_value *[]){y, y, lst_reshape(f.context, y, LS_SHAPE(32, 4)), f.x, f.w, constant}, 6);
    numbers[0] = 0; /* was copied */
    for (int o = 0; o < 6; o++)
        got[o] = ls_alloc_aligned(8 * 16 * sizeof(float));
    ls_context_reset(f.context); /* the program needs nothing of it */
    run(&f, program, NULL, (void **)got);
    for (int i = 0; i < 8 * 16; i++)
        cr_assert(got[0][i] == -f.data[i] && got[1][i] == -f.data[i] && got[2][i] == -f.data[i]);
    cr_assert_eq(memcmp(got[3], f.data, 8 * 16 * sizeof(float)), 0);
    cr_assert_eq(memcmp(got[4], f.data, 16 * sizeof(float)), 0);
    cr_assert(got[5][0] == 3 && got[5][1] == 4);
    for (int o = 0; o < 6; o++)
        ls_free(got[o]);
    ls_program_destroy(program);
    finish(&f);
}

/* A partial sum that is reduced twice and given out is copied to each place; one that is only reduced is not. */
Test(memory, partials)
{
    struct fixture f = setup(true);
    struct ls_value *once = lst_op1(f.context, LS_OP_ROW_SUM, f.x), *pair[] = {f.x, f.x};
    struct ls_value *twice = lst_apply(f.context, LS_OP_ROW_DOT, NULL, pair, 2);
    struct ls_value *outputs[] = {lst_op1(f.context, LS_OP_REDUCE, once), lst_op1(f.context, LS_OP_REDUCE, twice),
                                  lst_op1(f.context, LS_OP_REDUCE, twice), twice};
    struct ls_program *program = compile(&f, outputs, 4);
    float *partials[3], *given = ls_alloc_aligned(16 * sizeof(float));
    void *places[4] = {NULL, NULL, NULL, given};

    cr_assert_eq(ls_program_reduce_count(program), 3);
    cr_assert_eq(lines_with(program, "partial[0] float32(16) = row_sum"), 1);
    for (int r = 0; r < 3; r++) {
        cr_assert_eq(ls_program_output_at(program, r)->reduce, r);
        partials[r] = ls_alloc_aligned(16 * sizeof(float));
    }
    run(&f, program, (void **)partials, places);
    cr_assert_eq(memcmp(partials[1], partials[2], 16 * sizeof(float)), 0);
    cr_assert_eq(memcmp(partials[1], given, 16 * sizeof(float)), 0);
    cr_assert_neq(memcmp(partials[0], given, 16 * sizeof(float)), 0);
    for (int r = 0; r < 3; r++)
        ls_free(partials[r]);
    ls_free(given);
    ls_program_destroy(program);
    finish(&f);
}

/* An eager context is no graph, and a program runs on the number of samples that it was traced for only. */
Test(memory, refused)
{
    struct fixture f = setup(false), g = setup(true);
    struct ls_value *y = lst_op1(f.context, LS_OP_NEG, f.x), *z = lst_op1(g.context, LS_OP_NEG, g.x);
    struct ls_program *program = NULL;
    struct ls_program_buffers buffers = {0};

    cr_assert_eq(ls_program_compile(f.context, &y, 1, f.device, &program, &f.err), LS_EINVAL);
    program = compile(&g, &z, 1);
    g.shards = ls_shards_of(7, 4, 0, 4);
    buffers.shards = &g.shards;
    cr_assert_eq(ls_program_run(program, 0, &buffers, &g.err), LS_EINVAL);
    cr_assert_eq(ls_program_run(program, 1, &buffers, &g.err), LS_EINVAL);
    ls_program_destroy(program);
    finish(&f);
    finish(&g);
}

/* Compiling survives any allocation that fails. */
Test(memory, out_of_memory)
{
    struct fixture f = setup(true);
    struct ls_value *y = lst_op1(f.context, LS_OP_TANH, lst_op1(f.context, LS_OP_NEG, f.x));
    enum ls_status status = LS_ENOMEM;

    for (uint64_t nth = 1; status != LS_OK; nth++) {
        struct ls_program *program = NULL;

        ls_alloc_fail_after(nth);
        status = ls_program_compile(f.context, &y, 1, f.device, &program, &f.err);
        ls_alloc_fail_after(0);
        cr_assert(status == LS_OK || (status == LS_ENOMEM && program == NULL));
        ls_program_destroy(program);
        cr_assert_lt(nth, 100);
    }
    finish(&f);
}
