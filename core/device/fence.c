/* SPDX-License-Identifier: Apache-2.0 */
/* Fences, see fence.h: each asks the line of work that it is a place of. */
#include "core/device/fence_impl.h"

#include <stddef.h>
#include <stdio.h>

enum ls_status ls_fence_test(const struct ls_fence *fence, struct ls_error *err)
{
    return fence->ops == NULL ? LS_OK : fence->ops->test(fence->source, fence->place, err);
}

enum ls_status lsi_fence_await(const struct ls_fence *fence, const struct lsi_patience *patience, struct ls_error *err)
{
    return fence->ops == NULL ? LS_OK : fence->ops->wait(fence->source, fence->place, patience, err);
}

enum ls_status ls_fence_wait(const struct ls_fence *fence, uint64_t deadline_ns, struct ls_error *err)
{
    const struct lsi_patience patience = {.deadline_ns = deadline_ns, .who = "the caller"};

    return lsi_fence_await(fence, &patience, err);
}

const char *ls_fence_text(const struct ls_fence *fence, char text[LS_FENCE_TEXT])
{
    if (fence->ops == NULL)
        (void)snprintf(text, LS_FENCE_TEXT, "nothing");
    else
        fence->ops->text(fence->source, fence->place, text);
    return text;
}
