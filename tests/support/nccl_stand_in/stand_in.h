/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for NCCL and the CUDA run-time library, for tests only: one shared library with the entry points of
 * collective/provider/nccl/api.h, which moves bytes between local processes and threads on the CPU. It shows that the
 * provider's logic holds (order of rounds, what may be called when, abort); it shows nothing of a GPU. It is strict
 * where NCCL is: a device's memory cannot be read by the host, copies need pinned memory, a communicator that is in
 * progress or used by another thread ends the test, an abort hangs while another communicator of the device is busy.
 *
 * STAND_IN_FAULT=KIND:RANK:NUMBER makes one fault, see nccl.c; STAND_IN_DEVICES=N devices (default 8).
 */
#ifndef LOCKSTEP_TESTS_SUPPORT_NCCL_STAND_IN_H
#define LOCKSTEP_TESTS_SUPPORT_NCCL_STAND_IN_H

#include "collective/provider/nccl/api.h"

#include <stdbool.h>
#include <stdint.h>

#pragma GCC visibility push(default)
#define STAND_IN_PROTOTYPE(field, symbol, result, parameters) result symbol parameters;
NCCL_CALLS(STAND_IN_PROTOTYPE, int, struct nccl_comm *, struct nccl_id, struct nccl_config, int, int,
           struct cuda_stream *)
CUDA_CALLS(STAND_IN_PROTOTYPE, int, int, struct cuda_stream *, struct cuda_event *)
#pragma GCC visibility pop

/* Prints why and ends the process: the provider broke a rule. */
void stand_in_die(const char *why) __attribute__((noreturn));
/* Queues run(argument) on a stream. */
void stand_in_enqueue(struct cuda_stream *stream, void (*run)(void *argument), void *argument);
/* What the host can read of a device's memory; ends the process where it is not the device's. */
uint8_t *stand_in_device_memory(const void *pointer, size_t bytes);
/* Lets others run; sleeps where it was called often. */
void stand_in_pause(int round);

#endif
