/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The optimizer's sweep, in place: the step is committed, its gradients are reduced, so every rank makes the same next
 * state and none can be asked for the old one. The fingerprint of each piece is taken while it is still in cache.
 */
#include "worker/step/replica.h"

#define PIECE ((int64_t)16 * LS_CKPT_CHUNK) /* elements of one sweep: stays in the second-level cache */

static uint64_t sweep(struct ls_replica *replica, const struct ls_state_variable *v, const float *gradient)
{
    struct ls_state *state = replica->state;
    int64_t piece = PIECE * ls_device_threads(replica->device);
    uint64_t fingerprint = 0;

    for (int64_t begin = 0; begin < v->count; begin += piece) {
        struct ls_optimizer_slice slice = {.count = v->count - begin < piece ? v->count - begin : piece,
                                           .w = (const float *)v->data[0] + begin,
                                           .g = gradient + begin,
                                           .w_out = (float *)v->data[0] + begin};

        for (int s = 0; s < state->slot_count; s++)
            slice.slots[s] = slice.slots_out[s] = v->slots[s] + begin;
        ls_optimizer_apply(state->optimizer, replica->device, state->counters[!state->current], &slice);
        fingerprint += ls_device_fingerprint_f32(replica->device, slice.w_out, slice.count,
                                                 v->first_chunk + (uint64_t)(begin / LS_CKPT_CHUNK));
    }
    return fingerprint;
}

void ls_replica_commit(struct ls_replica *replica, const struct ls_schedule *schedule)
{
    const struct ls_step_program *program = schedule->calls[0].program;
    const void *const *reduced = ls_exchange_reduced(replica->exchange[LS_STEP_TRAIN]);
    struct ls_state *state = replica->state;
    uint64_t fingerprint = 0, began = ls_tracing_now(&replica->tracing);

    if (replica->compress != NULL && replica->world == 1)
        ls_compress_alone(replica->compress, reduced);
    ls_optimizer_advance(state->optimizer, state->counters[state->current], state->counters[!state->current]);
    for (int i = 0; i < state->variable_count; i++) {
        const struct ls_state_variable *v = &state->variables[i];
        const float *gradient = replica->gradients[i];
        int output = program->gradient_output[i];

        if (v->info->role != LS_ROLE_TRAINABLE)
            continue;
        if (output < 0) {
            fingerprint += ls_device_fingerprint_f32(replica->device, v->data[0], v->count, v->first_chunk);
            continue;
        }
        if (gradient == NULL)
            gradient = reduced[ls_program_output_at(program->program, output)->reduce];
        fingerprint += sweep(replica, v, gradient);
    }
    ls_state_flip(state);
    if (replica->compress != NULL)
        ls_compress_commit(replica->compress);
    replica->fingerprint = fingerprint;
    (void)ls_tracing_add(&replica->tracing, LS_TRACE_COMMIT, began, replica->progress.step);
    replica->progress.step++;
}
