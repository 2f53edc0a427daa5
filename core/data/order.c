/* SPDX-License-Identifier: Apache-2.0 */
/* Sample order of an epoch: the Feistel permutation of docs/numerics.md under the key of the shuffle stream. */
#include "core/data/dataset.h"

#include "core/base/philox.h"

/* Ordinal of the shuffle stream: no stream of a model (counted from 0 in model order) can have it. */
#define SHUFFLE_STREAM UINT64_MAX

int64_t ls_epoch_index(const struct ls_epoch_order *order, uint64_t epoch, int64_t position)
{
    int64_t index;

    ls_epoch_indices(order, epoch, position, 1, &index);
    return index;
}

void ls_epoch_indices(const struct ls_epoch_order *order, uint64_t epoch, int64_t first, int64_t count, int64_t *index)
{
    struct ls_philox_key key = ls_philox_key_of(order->seed, SHUFFLE_STREAM, 0);

    for (int64_t i = 0; i < count; i++)
        index[i] = order->shuffle ? (int64_t)ls_shuffle_index(key, epoch, (uint64_t)order->count, (uint64_t)(first + i))
                                  : first + i;
}
