/** What the kernel tells of one task (a thread) as it ends: linux/taskstats.h. Ids are the host's. */
export interface TaskExit {
  pid: number
  /** The process that the thread belongs to. */
  processId: number
  parentPid: number
  uid: number
  /** At most 15 bytes, its own choice. */
  name: string
  /** Seconds since 1970, without a fraction. */
  startedAtS: number
  /** Of the thread, and of its process. */
  durationMs: number
  processDurationMs: number
  cpuMs: number
  /** How long it was ready to run and had no CPU. */
  waitedMs: number
  /** Of the process. */
  peakRssBytes: number
  /** That reached the disk, or are to. */
  readBytes: number
  writtenBytes: number
  /** As wait(2) has it; what counts is that of a process's first thread. */
  status: number
  /** Nothing of the process is left. */
  isLast: boolean
}

const headerBytes = 20
const types = { pid: 1, stats: 3, both: 4 }
/** From this one on the kernel tells which process a thread was of. */
const firstVersion = 12
const neededBytes = 384
const lastOfGroup = 0x20
const nameBytes = 32
/** Where the fields are in the structure. */
const at = {
  version: 0,
  status: 4,
  flags: 8,
  waitedNs: 24,
  name: 80,
  uid: 120,
  pid: 128,
  parentPid: 132,
  durationUs: 144,
  userUs: 152,
  systemUs: 160,
  peakRssKiB: 200,
  readBytes: 248,
  writtenBytes: 256,
  startedAtS: 344,
  processId: 368,
  processDurationUs: 376,
}

/**
 * Reads one message. Undefined where its form is not the known one: a release of the kernel has moved the fields, and the id in
 * front of the structure shows that.
 */
export function readTaskExit(message: Buffer): TaskExit | undefined {
  const both = attribute(message, headerBytes, types.both)
  const pid = both && attribute(both, 0, types.pid)
  const stats = both && attribute(both, 0, types.stats)
  if (!pid || pid.length < 4 || !stats || stats.length < neededBytes) return undefined
  if (stats.readUInt16LE(at.version) < firstVersion || stats.readUInt32LE(at.pid) !== pid.readUInt32LE(0))
    return undefined
  const number = (from: number): number => Number(stats.readBigUInt64LE(from))
  const name = stats.subarray(at.name, at.name + nameBytes)
  const end = name.indexOf(0)
  return {
    pid: stats.readUInt32LE(at.pid),
    processId: stats.readUInt32LE(at.processId),
    parentPid: stats.readUInt32LE(at.parentPid),
    uid: stats.readUInt32LE(at.uid),
    name: name.toString('utf8', 0, end < 0 ? nameBytes : end),
    startedAtS: number(at.startedAtS),
    durationMs: number(at.durationUs) / 1000,
    processDurationMs: number(at.processDurationUs) / 1000,
    cpuMs: (number(at.userUs) + number(at.systemUs)) / 1000,
    waitedMs: number(at.waitedNs) / 1e6,
    peakRssBytes: number(at.peakRssKiB) * 1024,
    readBytes: number(at.readBytes),
    writtenBytes: number(at.writtenBytes),
    status: stats.readUInt32LE(at.status),
    isLast: (stats.readUInt8(at.flags) & lastOfGroup) !== 0,
  }
}

/** The content of the first attribute of this type. */
function attribute(message: Buffer, from: number, type: number): Buffer | undefined {
  for (let offset = from; offset + 4 <= message.length;) {
    const length = message.readUInt16LE(offset)
    if (length < 4) return undefined
    if (message.readUInt16LE(offset + 2) === type) return message.subarray(offset + 4, offset + length)
    offset += (length + 3) & ~3
  }
  return undefined
}
