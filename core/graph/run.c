/* SPDX-License-Identifier: Apache-2.0 */
/* Running a segment: nothing is decided, allocated or changed here but the caller's buffers. */
#include "core/graph/program_internal.h"

#include <string.h>

int ls_program_segment_count(const struct ls_program *program)
{
    return program->segment_count;
}

int ls_program_reduce_count(const struct ls_program *program)
{
    return program->reduce_count;
}

const struct ls_program_reduce *ls_program_reduce_at(const struct ls_program *program, int reduce)
{
    return &program->reduces[reduce];
}

const struct ls_program_output *ls_program_output_at(const struct ls_program *program, int output)
{
    return &program->outputs[output];
}

size_t ls_program_arena_bytes(const struct ls_program *program)
{
    return program->arena_bytes;
}

static void *memory_of(const struct lsi_storage *storage, const struct ls_program_buffers *buffers)
{
    switch (storage->place) {
    case LSI_INPUT:
        return (void *)(uintptr_t)buffers->inputs[storage->index];
    case LSI_VARIABLE:
        return (void *)(uintptr_t)buffers->variables[storage->index];
    case LSI_CONSTANT:
        return storage->constant;
    case LSI_ARENA:
        return (char *)buffers->arena + storage->offset;
    case LSI_PARTIAL:
        return buffers->partials[storage->index];
    case LSI_REDUCED:
        return (void *)(uintptr_t)buffers->reduced[storage->index];
    case LSI_OUTPUT:
        return buffers->outputs[storage->index];
    }
    return NULL;
}

static struct ls_view view_of(const struct ls_program *program, int slot, const struct ls_program_buffers *buffers)
{
    const struct lsi_slot *s = &program->slots[slot];

    return (struct ls_view){
        .dtype = s->dtype, .shape = s->shape, .data = memory_of(&program->storages[s->storage], buffers)};
}

static enum ls_status run_kernel(struct ls_program *program, const struct lsi_step *step,
                                 const struct ls_program_buffers *buffers, struct ls_error *err)
{
    struct ls_view in[LS_MAX_INPUTS], out = view_of(program, step->out, buffers);
    struct ls_op_call call = {.op = step->op,
                              .attrs = &step->attrs,
                              .in = in,
                              .in_count = step->in_count,
                              .out = &out,
                              .out_count = 1,
                              .shards = step->shards ? buffers->shards : NULL,
                              .step = buffers->step,
                              .workspace =
                                  step->workspace_bytes > 0 ? (char *)buffers->arena + step->workspace_offset : NULL};

    for (int j = 0; j < step->in_count; j++)
        in[j] = view_of(program, step->in[j], buffers);
    if (ls_shape_count(&out.shape) == 0)
        return LS_OK;
    return ls_device_run(program->device, &call, err);
}

static void run_copy(const struct ls_program *program, const struct lsi_step *step, void *to,
                     const struct ls_program_buffers *buffers)
{
    struct ls_view from = view_of(program, step->in[0], buffers);

    if (from.data != to && ls_view_bytes(&from) > 0)
        memcpy(to, from.data, ls_view_bytes(&from));
}

enum ls_status ls_program_run(struct ls_program *program, int segment, const struct ls_program_buffers *buffers,
                              struct ls_error *err)
{
    const struct ls_shards *shards = buffers->shards;

    if (segment < 0 || segment >= program->segment_count)
        return ls_error_set(err, LS_EINVAL, "segment %d of a program of %d", segment, program->segment_count);
    if (shards->count != program->shard_count || shards->offset[shards->count] != program->samples)
        return ls_error_set(err, LS_EINVAL, "a program for %d shards of %lld samples was given %d of %lld",
                            program->shard_count, (long long)program->samples, shards->count,
                            (long long)shards->offset[shards->count]);
    for (int i = program->segment_begin[segment]; i < program->segment_begin[segment + 1]; i++) {
        const struct lsi_step *step = &program->steps[i];
        enum ls_status status = LS_OK;

        if (step->kind == LSI_STEP_KERNEL) {
            status = run_kernel(program, step, buffers, err);
        } else if (step->kind == LSI_STEP_COPY) {
            run_copy(program, step, buffers->outputs[step->index], buffers);
        } else {
            run_copy(program, step, buffers->partials[step->index], buffers);
            if (buffers->on_partial != NULL)
                buffers->on_partial(buffers->on_partial_state, step->index);
        }
        if (status != LS_OK)
            return status;
    }
    return LS_OK;
}
