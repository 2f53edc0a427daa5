/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lockstep as a library: everything a program needs to build, train and apply models from C. docs/c-api.md says how the
 * parts go together. This is the one header that is installed for others to include; the project itself includes the
 * headers below one by one.
 */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
/* C++ has no _Atomic keyword. Its users only pass pointers to the structs that hold such members, which are as large
 * and lie as the plain ones. */
#define _Atomic volatile
extern "C" {
#endif

/* Base: statuses and errors, memory, digests, files. */
#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/status.h"

/* Arrays, devices, ops on values, gradients. */
#include "core/autodiff/gradient.h"
#include "core/device/device.h"
#include "core/ops/context.h"
#include "core/ops/ops.h"
#include "core/tensor/tensor.h"

/* Models, losses, optimizers, data, weights in files. */
#include "core/data/dataset.h"
#include "core/formats/npz.h"
#include "core/nn/model.h"
#include "core/nn/model_build.h"
#include "core/nn/optimizer.h"
#include "core/nn/train_graph.h"

/* Replicas and their groups; training. */
#include "collective/group.h"
#include "strategies/plan.h"
#include "worker/fit/by_hand.h"
#include "worker/fit/fit.h"
#include "worker/fit/mirrored.h"

#ifdef __cplusplus
}
#undef _Atomic
#endif

#endif
