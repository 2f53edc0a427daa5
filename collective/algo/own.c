/* SPDX-License-Identifier: Apache-2.0 */
/* What a rank adds of its own leaves before anything travels, for all algorithms over messages. */
#include "collective/algo/message.h"

static void point_at(struct lsi_message *m, const struct ls_request *request, int first, int64_t begin)
{
    const int *first_leaf = request->tree->first_leaf;
    int leaves = first_leaf[m->group->rank + 1] - first_leaf[m->group->rank];

    for (int i = 0; i < leaves; i++)
        m->inputs[first + i] = (const uint8_t *)request->leaves[i] + begin * (int64_t)request->element_bytes;
}

const void *lsi_own_partial(struct lsi_message *m, const struct ls_request *request, int own, int64_t begin,
                            int64_t length, void *room)
{
    const struct lsi_steps *steps = &request->tree->own[own];

    if (steps->count == 0)
        return (const uint8_t *)request->leaves[steps->only] + begin * (int64_t)request->element_bytes;
    point_at(m, request, 0, begin);
    lsi_add_partial(request, steps, m->inputs, room, length);
    return room;
}

void lsi_own_sum(struct lsi_message *m, const struct ls_request *request, const struct lsi_own *own, void *out)
{
    const int *first_leaf = request->tree->first_leaf;
    int inputs = first_leaf[m->group->rank + 1] - first_leaf[m->group->rank] + (own->came != NULL);
    struct lsi_steps steps = {.count = inputs - 1, .only = 0};

    m->inputs[0] = own->came;
    point_at(m, request, own->came != NULL, own->begin);
    for (int16_t i = 0; i + 1 < inputs; i++)
        steps.step[i] = (struct lsi_step){-1, i == 0 ? 0 : -1, (int16_t)(i + 1)};
    struct lsi_reduce reduce = {
        .combine = lsi_combine_get(request->op.dtype, request->op.reduction),
        .element_bytes = request->element_bytes,
        .steps = &steps,
        .inputs = m->inputs,
        .outs = &out,
        .out_count = 1,
        .divisor = own->divisor,
        .dtype = request->op.dtype,
    };
    lsi_reduce_run(&reduce, own->length);
}
