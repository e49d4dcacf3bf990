/*
 * forward: one call of HNS, sent to the emulator that HNSEMU_ADDR names (address:port) and answered by it. All state is there. Each call has
 * a connection of its own, so there is nothing to lock and nothing that a process leaves behind. Without the variable, or where nobody
 * listens, HNS is unavailable, as when its service is stopped.
 */
#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>
#include <objbase.h>

#define EXPORT __declspec(dllexport) HRESULT WINAPI
#define GUID_TEXT 40 /* bytes that a GUID takes as text */

/*
 * id is a GUID as text, "" for none; a, b and c may be NULL. What comes back goes to answered_id (GUID_TEXT bytes), output and record, each of
 * which may be NULL; output and record are made by CoTaskMemAlloc, as callers expect, and are NULL where there is nothing. hcsshim takes any
 * record for a failure.
 */
HRESULT forward(const char *operation, const char *id, const WCHAR *a, const WCHAR *b, const WCHAR *c, char *answered_id, WCHAR **output,
	WCHAR **record);
