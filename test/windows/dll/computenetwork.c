/*
 * computenetwork.dll: schema 2 of HNS. A handle remembers the GUID of its object.
 */
#include "forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0x4e434848u /* says that a handle is one of ours */

struct handle {
	DWORD magic;
	char kind;
	char id[GUID_TEXT];
};

static HRESULT new_handle(char kind, const char *id, void **out) {
	struct handle *h = calloc(1, sizeof *h);
	if (!h)
		return E_OUTOFMEMORY;
	h->magic = MAGIC;
	h->kind = kind;
	snprintf(h->id, sizeof h->id, "%s", id);
	*out = h;
	return S_OK;
}

/* handle_of is NULL for what is no handle of this kind. */
static struct handle *handle_of(void *p, char kind) {
	struct handle *h = p;
	return h && h->magic == MAGIC && h->kind == kind ? h : NULL;
}

/* guid_text gives "" for the GUID of zeros, which callers pass for none. */
static void guid_text(const GUID *g, char *text) {
	static const GUID none;
	*text = 0;
	if (g && memcmp(g, &none, sizeof none))
		snprintf(text, GUID_TEXT, "%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", (unsigned long)g->Data1, g->Data2, g->Data3,
			g->Data4[0], g->Data4[1], g->Data4[2], g->Data4[3], g->Data4[4], g->Data4[5], g->Data4[6], g->Data4[7]);
}

static HRESULT open_object(const char *operation, char kind, const GUID *guid, void **out, PWSTR *record) {
	char id[GUID_TEXT], answered[GUID_TEXT] = "";
	HRESULT result;
	guid_text(guid, id);
	result = forward(operation, id, NULL, NULL, NULL, answered, NULL, record);
	return FAILED(result) ? result : new_handle(kind, answered, out);
}

static HRESULT create_object(const char *operation, char kind, const char *parent, const GUID *guid, PCWSTR settings, void **out, PWSTR *record) {
	char id[GUID_TEXT], answered[GUID_TEXT] = "";
	WCHAR wide_parent[GUID_TEXT];
	HRESULT result;
	int i = 0;
	for (; parent[i]; i++)
		wide_parent[i] = (WCHAR)parent[i];
	wide_parent[i] = 0;
	guid_text(guid, id);
	result = forward(operation, id, settings, wide_parent, NULL, answered, NULL, record);
	return FAILED(result) ? result : new_handle(kind, answered, out);
}

static HRESULT by_handle(const char *operation, char kind, void *p, PCWSTR document, PWSTR *output, PWSTR *record) {
	struct handle *h = handle_of(p, kind);
	if (record)
		*record = NULL;
	return h ? forward(operation, h->id, document, NULL, NULL, NULL, output, record) : E_HANDLE;
}

static HRESULT delete_object(const char *operation, const GUID *guid, PWSTR *record) {
	char id[GUID_TEXT];
	guid_text(guid, id);
	return forward(operation, id, NULL, NULL, NULL, NULL, NULL, record);
}

static HRESULT close_handle(char kind, void *p) {
	struct handle *h = handle_of(p, kind);
	if (!h)
		return E_HANDLE;
	h->magic = 0;
	free(h);
	return S_OK;
}

#define FUNCTIONS(NAME, PLURAL, KIND)                                                                       \
	EXPORT HcnEnumerate##PLURAL(PCWSTR query, PWSTR *output, PWSTR *record) {                           \
		return forward("Enumerate" #NAME, "", query, NULL, NULL, NULL, output, record);             \
	}                                                                                                   \
	EXPORT HcnOpen##NAME(const GUID *id, void **handle, PWSTR *record) {                                \
		return open_object("Open" #NAME, KIND, id, handle, record);                                 \
	}                                                                                                   \
	EXPORT HcnModify##NAME(void *handle, PCWSTR settings, PWSTR *record) {                              \
		return by_handle("Modify" #NAME, KIND, handle, settings, NULL, record);                     \
	}                                                                                                   \
	EXPORT HcnQuery##NAME##Properties(void *handle, PCWSTR query, PWSTR *output, PWSTR *record) {       \
		return by_handle("Query" #NAME, KIND, handle, query, output, record);                       \
	}                                                                                                   \
	EXPORT HcnDelete##NAME(const GUID *id, PWSTR *record) { return delete_object("Delete" #NAME, id, record); } \
	EXPORT HcnClose##NAME(void *handle) { return close_handle(KIND, handle); }

#define CREATE(NAME, KIND)                                                                                  \
	EXPORT HcnCreate##NAME(const GUID *id, PCWSTR settings, void **handle, PWSTR *record) {             \
		return create_object("Create" #NAME, KIND, "", id, settings, handle, record);               \
	}

FUNCTIONS(Network, Networks, 'N')
FUNCTIONS(Endpoint, Endpoints, 'E')
FUNCTIONS(Namespace, Namespaces, 'S')
FUNCTIONS(LoadBalancer, LoadBalancers, 'L')
FUNCTIONS(SdnRoute, SdnRoutes, 'R')
CREATE(Network, 'N')
CREATE(Namespace, 'S')
CREATE(LoadBalancer, 'L')
CREATE(SdnRoute, 'R')

EXPORT HcnCreateEndpoint(void *network, const GUID *id, PCWSTR settings, void **handle, PWSTR *record) {
	struct handle *parent = handle_of(network, 'N');
	if (record)
		*record = NULL;
	return parent ? create_object("CreateEndpoint", 'E', parent->id, id, settings, handle, record) : E_HANDLE;
}
