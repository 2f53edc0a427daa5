/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Known answers: one small fixed question for every op and sweep, put to a device before it may join a job. The answers
 * are constants of the numerics version, so a wrong build, flushed denormals or a faulty processor is found in a few
 * milliseconds and named, instead of at the first step whose parameters differ.
 */
#ifndef LOCKSTEP_CORE_DEVICE_KNOWN_ANSWER_H
#define LOCKSTEP_CORE_DEVICE_KNOWN_ANSWER_H

#include "core/device/device.h"

#define LS_KNOWN_ANSWERS_MAX 80

struct ls_known_answer {
    const char *name;  /* of the op or sweep; static memory. "arithmetic": the calling thread's, without a kernel */
    uint64_t digest;   /* XXH3-64 of the result's bytes, every NaN made canonical */
    uint64_t expected; /* of the reference */
};

/* Asks everything but what `math: fast` leaves to a library's order. answers holds LS_KNOWN_ANSWERS_MAX. */
enum ls_status ls_device_known_answers(struct ls_device *device, struct ls_known_answer *answers, int *count,
                                       struct ls_error *err);
/* Asks, and compares: LS_EUNSUPPORTED names the device and the first op whose answer is wrong. *digest: of all answers
 * together, what a worker joins with. */
enum ls_status ls_device_check_known_answers(struct ls_device *device, uint64_t *digest, struct ls_error *err);
/* That digest where every answer is right, without asking. fast: of jobs with `math: fast`. */
uint64_t ls_known_answers_digest(bool fast);

#endif
