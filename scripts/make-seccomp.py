#!/usr/bin/env python3
"""Resolves the containers project's default seccomp profile for VM0's capability set.

Usage: make-seccomp.py seccomp.json > packages/sandbox/seccomp/default.json
The input is /usr/share/containers/seccomp.json of Debian's golang-github-containers-common.
"""
import json
import sys

CAPABILITIES = {
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
    "CAP_KILL", "CAP_SYS_CHROOT", "CAP_SETFCAP", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE",
}
ARCHES = {"amd64", "x32", "x86", "arm64", "arm"}

profile = json.load(open(sys.argv[1]))
rules = []
for rule in profile["syscalls"]:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if not set(includes.get("caps", [])) <= CAPABILITIES or set(excludes.get("caps", [])) & CAPABILITIES:
        continue
    if "arches" in includes and not set(includes["arches"]) & ARCHES:
        continue
    resolved = {"names": rule["names"], "action": rule["action"]}
    if "errnoRet" in rule:
        resolved["errnoRet"] = rule["errnoRet"]
    if rule.get("args"):
        resolved["args"] = [{key: arg[key] for key in ("index", "value", "valueTwo", "op")} for arg in rule["args"]]
    rules.append(resolved)
json.dump({
    "defaultAction": profile["defaultAction"],
    "defaultErrnoRet": profile["defaultErrnoRet"],
    "archMap": {"x64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "arm64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]},
    "syscalls": rules,
}, sys.stdout, indent=1)
print()
