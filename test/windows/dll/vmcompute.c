/*
 * vmcompute.dll, as far as hcsshim uses it for HNS: schema 1.
 */
#include "forward.h"

EXPORT HNSCall(PCWSTR method, PCWSTR path, PCWSTR object, PWSTR *response) {
	return forward("HNSCall", "", method, path, object, NULL, response, NULL);
}
