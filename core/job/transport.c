/* SPDX-License-Identifier: Apache-2.0 */
/* The table of transports; see transport.h. */
#include "core/job/transport.h"

#include <string.h>

static const struct ls_transport transports[] = {
#define ROW(label, listener, mpirun, carrier, meaning) \
    {.name = (label), .listens = (listener), .launched = (mpirun), .between = (carrier), .text = (meaning)},
    LS_TRANSPORT_LIST(ROW)
#undef ROW
};

static const char *const all_names[] = {
#define NAME(label, listener, mpirun, carrier, meaning) label,
    LS_TRANSPORT_LIST(NAME)
#undef NAME
};

const struct ls_transport *ls_transport_find(const char *name)
{
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++)
        if (strcmp(transports[i].name, name) == 0)
            return &transports[i];
    return NULL;
}

size_t ls_transport_names(const char *const **names)
{
    *names = all_names;
    return sizeof all_names / sizeof all_names[0];
}
