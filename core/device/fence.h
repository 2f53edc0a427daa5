/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fence: a place on a line of work, reached when everything up to it has ended. Events of a stream
 * (core/device/stream.h) and requests of a group (collective/group.h) are fences, so that a host and a stream wait for
 * either in one way. A value: copied freely, nothing to end; good as long as the stream or the group lives.
 */
#ifndef LOCKSTEP_CORE_DEVICE_FENCE_H
#define LOCKSTEP_CORE_DEVICE_FENCE_H

#include "core/base/status.h"

#include <stdint.h>

struct ls_fence_ops;

/* Zeroed: one that has been reached. */
struct ls_fence {
    const struct ls_fence_ops *ops;
    void *source;
    uint64_t place;
};

#define LS_FENCE_TEXT 128

/* LS_OK: reached; LS_EAGAIN: not yet; otherwise why it never will be. May be asked again and again, from any thread. */
enum ls_status ls_fence_test(const struct ls_fence *fence, struct ls_error *err);
/* The same once it is decided. LS_ETIMEOUT: not by deadline_ns (ls_clock_now_ns); it names what was waited for, which
 * goes on. */
enum ls_status ls_fence_wait(const struct ls_fence *fence, uint64_t deadline_ns, struct ls_error *err);
/* "work 7 of stream update" into text; returns text. */
const char *ls_fence_text(const struct ls_fence *fence, char text[LS_FENCE_TEXT]);

#endif
