import { chmodSync, chownSync, closeSync, lstatSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort } from 'node:worker_threads'
import koffi from 'koffi'
import { check, closeFd, moveMount, openTree, syscall } from '../mount-calls.js'
import type { Outcome, Request, RootMove } from './task.js'

// pivot_root(2) has no wrapper in any C library.
const sysPivotRoot = process.arch === 'arm64' ? 41 : 155
const newMountNamespace = 0x20000
const ownRootAndFolder = 0x200
const makePrivate = 0x40000
const detach = 2
/** Where the new root is on its way, in the old one. */
const arrival = '/.vm0-root'

const libc = koffi.load('libc.so.6')
const setns = libc.func('int setns(int fd, int type)')
const unshare = libc.func('int unshare(int flags)')
const mount = libc.func('int mount(str source, str target, str type, unsigned long flags, str data)')
const umount2 = libc.func('int umount2(str target, int flags)')

// setns(2) enters no mount namespace while other threads share this one's root and working directory.
check(unshare(ownRootAndFolder), 'unshare')
const host = openSync('/proc/thread-self/ns/mnt', 'r')

parentPort?.on('message', ({ id, move }: Request) => {
  const outcome: Outcome = { id }
  try {
    carryOut(move)
  } catch (error) {
    outcome.error = (error as Error).message
  }
  parentPort?.postMessage(outcome)
})

/** All of it without waiting for anything: nothing else happens in this thread while it is in the sandbox's namespace. */
function carryOut({ pid, root, owner, mounts }: RootMove): void {
  const tree = openTree(root)
  const inside = openSync(`/proc/${pid}/ns/mnt`, 'r')
  try {
    check(setns(inside, newMountNamespace), 'setns')
    try {
      enter(tree, owner, mounts)
    } finally {
      check(setns(host, newMountNamespace), 'setns back')
    }
  } finally {
    closeSync(inside)
    closeFd(tree)
  }
}

/** Paths are the sandbox's from here on. Its processes wait for what comes: nothing in it changes but what is changed here. */
function enter(tree: number, owner: number, mounts: readonly string[]): void {
  mkdirSync(arrival, { recursive: true })
  moveMount(tree, arrival)
  check(mount(null, arrival, null, makePrivate, null), 'mount')
  for (const path of mounts) {
    makePlace(path, lstatSync(path).isDirectory(), owner)
    moveMount(path, join(arrival, path))
  }
  // The kernel takes along every process whose root or folder the old root was; that one then lies over the new one.
  check(syscall(sysPivotRoot, 'str', arrival, 'str', arrival), 'pivot_root')
  check(umount2('/', detach), 'umount2')
}

/**
 * What is mounted needs something of its kind to be mounted on. A session's files are its own: a link in place of a folder is
 * followed by nobody here.
 */
function makePlace(path: string, isDirectory: boolean, owner: number): void {
  const names = path.split('/').filter(Boolean)
  let at = arrival
  for (const [index, name] of names.entries()) {
    at = join(at, name)
    const isFolder = index < names.length - 1 || isDirectory
    const found = lstatSync(at, { throwIfNoEntry: false })
    if (found) {
      if (isFolder ? found.isDirectory() : found.isFile()) continue
      throw new Error(`${at.slice(arrival.length)} is in the way: expected a ${isFolder ? 'folder' : 'file'}`)
    }
    if (isFolder) mkdirSync(at)
    else closeSync(openSync(at, 'wx'))
    chownSync(at, owner, owner)
    // As the OCI runtime makes them.
    chmodSync(at, isFolder ? 0o1755 : 0o700)
  }
}
