import { readFileSync } from 'node:fs'

interface Rule {
  names: string[]
  action: string
  errnoRet?: number
  args?: { index: number; value: number; valueTwo: number; op: string }[]
}
interface Profile {
  defaultAction: string
  defaultErrnoRet: number
  archMap: Record<string, string[]>
  syscalls: Rule[]
}

const eperm = 1

/**
 * What the containers project's profile allows because a container of its own user may need it, and a sandbox doesn't:
 * namespaces and mounts (in a user namespace of its own a process has every capability again, and with them the parts of
 * the kernel where most ways out were found), keyrings (they aren't namespaced), rebooting.
 */
const forbidden =
  'unshare setns mount umount umount2 pivot_root mount_setattr fsopen fsmount fsconfig fspick open_tree move_mount keyctl add_key request_key reboot syslog'.split(
    ' ',
  )
/** Not there at all, so that callers take the other way: clone3 hides its flags in memory, socketcall its family. */
const hidden = ['clone3', 'socketcall']

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const namespaceFlags = 0x7e02_0000
/** AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: no packet sockets, and no vsock, which leads past every namespace to the hypervisor. */
const socketFamilies = [1, 2, 10, 16]

/** The filter of every process in a sandbox: the containers project's default profile, resolved for our capabilities, minus the above. */
export function seccompFilter(arch: string = process.arch) {
  const { archMap, syscalls, ...defaults } = JSON.parse(
    readFileSync(new URL('../../seccomp/default.json', import.meta.url), 'utf8'),
  ) as Profile
  const special = new Set([...forbidden, ...hidden, 'clone', 'socket'])
  const when = (value: number, op: string, valueTwo = 0) => [{ index: 0, value, valueTwo, op }]
  return {
    ...defaults,
    architectures: archMap[arch] ?? [],
    syscalls: [
      ...syscalls
        .map((rule) => ({ ...rule, names: rule.names.filter((name) => !special.has(name)) }))
        .filter(({ names }) => names.length > 0),
      { names: forbidden, action: 'SCMP_ACT_ERRNO', errnoRet: eperm },
      { names: ['clone'], action: 'SCMP_ACT_ALLOW', args: when(namespaceFlags, 'SCMP_CMP_MASKED_EQ') },
      ...socketFamilies.map((family) => ({
        names: ['socket'],
        action: 'SCMP_ACT_ALLOW',
        args: when(family, 'SCMP_CMP_EQ'),
      })),
    ],
  }
}
