/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the sources of core/event: who owns a libuv handle, and how memory outlives its last callback. */
#ifndef LOCKSTEP_CORE_EVENT_EVENT_INTERNAL_H
#define LOCKSTEP_CORE_EVENT_EVENT_INTERNAL_H

#include "core/event/event.h"

#include <uv.h>

#define LSI_READ_BYTES 65536
#define LSI_LINGER_MS 2000
#define LSI_QUEUE_LIMIT (1024 * 1024)

/* First member of everything that holds libuv handles: how many of them (and of pending requests) still use the memory.
 * The handle's data points here; the last one to close frees it. */
struct lsi_owner {
    int handles;
};

struct ls_loop {
    struct lsi_owner owner;
    uv_loop_t uv;
    uv_async_t wake;
    void (*on_wake)(void *state);
    void *state;
    char scratch[LSI_READ_BYTES]; /* every stream reads into it, one at a time */
};

/* A fresh, not yet connected stream; NULL when memory is short. */
struct ls_stream *lsi_stream_create(struct ls_loop *loop);
uv_tcp_t *lsi_stream_tcp(struct ls_stream *stream);

/* Attaches an initialised handle to its owner. */
void lsi_handle_attach(uv_handle_t *handle, struct lsi_owner *owner);
/* Closes a handle once; the owner's memory goes with the last. */
void lsi_handle_close(uv_handle_t *handle);
/* A pending request has ended. */
void lsi_owner_drop(struct lsi_owner *owner);

/* Status for a libuv error. */
enum ls_status lsi_status_of(int uv_error);
/* Numeric address of a socket address; *port may be NULL. */
void lsi_address_text(const struct sockaddr_storage *address, char text[LS_ADDRESS_TEXT], uint16_t *port);
/* A numeric host without asking anybody; false where it is a name. */
bool lsi_address_numeric(const char *host, uint16_t port, struct sockaddr_storage *address);

#endif
