/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The optimizer's sweep: as soon as a variable's gradient is reduced its next state is made, and the fingerprint of
 * each piece is taken while it is still in cache.
 */
#include "worker/step/replica.h"

#include <string.h>

#define PIECE ((int64_t)16 * LS_CKPT_CHUNK) /* elements of one sweep: stays in the second-level cache */

static uint64_t sweep(struct ls_replica *replica, const struct ls_state_variable *v, const float *gradient)
{
    struct ls_state *state = replica->state;
    int now = state->current, next = !state->current;
    int64_t piece = PIECE * ls_device_threads(replica->device);
    uint64_t fingerprint = 0;

    for (int64_t begin = 0; begin < v->count; begin += piece) {
        struct ls_optimizer_slice slice = {.count = v->count - begin < piece ? v->count - begin : piece,
                                           .w = (const float *)v->data[now] + begin,
                                           .g = gradient + begin,
                                           .w_out = (float *)v->data[next] + begin};

        for (int s = 0; s < state->slot_count; s++) {
            slice.slots[s] = v->slots[s][now] + begin;
            slice.slots_out[s] = v->slots[s][next] + begin;
        }
        ls_optimizer_apply(state->optimizer, replica->device, state->counters[next], &slice);
        fingerprint += ls_device_fingerprint_f32(replica->device, slice.w_out, slice.count,
                                                 v->first_chunk + (uint64_t)(begin / LS_CKPT_CHUNK));
    }
    return fingerprint;
}

/* Later buckets come first in model order's reverse, so variables are visited from the last one. */
enum ls_status ls_replica_update(struct ls_replica *replica, const struct ls_schedule *schedule, uint64_t *fingerprint,
                                 struct ls_error *err)
{
    const struct ls_step_program *program = schedule->calls[0].program;
    struct ls_exchange *exchange = replica->exchange[LS_STEP_TRAIN];
    struct ls_state *state = replica->state;
    uint64_t sum = 0;

    ls_optimizer_advance(state->optimizer, state->counters[state->current], state->counters[!state->current]);
    for (int i = state->variable_count - 1; i >= 0; i--) {
        const struct ls_state_variable *v = &state->variables[i];
        const float *gradient = replica->gradients[i];
        int output = program->gradient_output[i];

        if (v->info->role != LS_ROLE_TRAINABLE)
            continue;
        if (output < 0) {
            sum += ls_device_fingerprint_f32(replica->device, v->data[state->current], v->count, v->first_chunk);
            continue;
        }
        if (gradient == NULL) {
            int reduce = ls_program_output_at(program->program, output)->reduce;
            enum ls_status status = ls_exchange_wait(exchange, reduce, err);

            if (status != LS_OK)
                return status;
            gradient = ls_exchange_reduced(exchange)[reduce];
        }
        sum += sweep(replica, v, gradient);
    }
    *fingerprint = sum;
    return LS_OK;
}
