/* SPDX-License-Identifier: Apache-2.0 */
/* What a request adds in one place, through the caches. Results in several places or past them: reduce.h itself. */
#include "collective/group_impl.h"
#include "collective/reduce.h"

static void add(const struct ls_request *request, int divisor, const struct lsi_steps *steps, const void *const *inputs,
                void *out, int64_t length)
{
    struct lsi_reduce reduce = {
        .combine = lsi_combine_get(request->op.dtype, request->op.reduction),
        .element_bytes = request->element_bytes,
        .steps = steps,
        .inputs = inputs,
        .outs = &out,
        .out_count = 1,
        .divisor = divisor,
        .dtype = request->op.dtype,
    };

    lsi_reduce_run(&reduce, length);
}

void lsi_add_partial(const struct ls_request *request, const struct lsi_steps *steps, const void *const *inputs,
                     void *out, int64_t length)
{
    add(request, 1, steps, inputs, out, length);
}

void lsi_add_result(const struct ls_request *request, const struct lsi_steps *steps, const void *const *inputs,
                    void *out, int64_t length)
{
    add(request, request->divisor, steps, inputs, out, length);
}
