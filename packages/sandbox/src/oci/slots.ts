import { randomBytes } from 'node:crypto'
import { link, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Vm0Error } from '@vm0/contract'

const directory = '/run/vm0/slots'
/** Files on their way to become a slot. */
const claims = '/run/vm0/slot-claims'
const count = 32_000

/**
 * A slot is a number that one sandbox of this host holds, whichever installation it belongs to. Its uid range and its
 * addresses follow from it: 198.18.0.0/15 is set aside for tests between networks (RFC 2544), so that real hosts aren't there.
 */
export class Slot {
  constructor(readonly number: number) {}
  /** First id of the 65536 that belong to the slot. */
  get uidBase(): number {
    return 300_000 + this.number * 65_536
  }
  get hostAddress(): string {
    return this.addressAt(1)
  }
  get sandboxAddress(): string {
    return this.addressAt(2)
  }
  private addressAt(offset: number): string {
    const value = this.number * 4 + offset
    return `198.${18 + (value >> 16)}.${(value >> 8) & 255}.${value & 255}`
  }
  release(): Promise<void> {
    return rm(join(directory, String(this.number)), { force: true })
  }
}

export async function takeSlot(installation: string): Promise<Slot> {
  await mkdir(directory, { recursive: true, mode: 0o755 })
  const taken = new Set(await readdir(directory))
  for (let number = 0; number < count; number++) {
    if (taken.has(String(number))) continue
    if (await take(join(directory, String(number)), installation)) return new Slot(number)
  }
  throw new Vm0Error(
    'SANDBOX_START_FAILED',
    `all ${count} sandbox slots of this host are taken; expected a free one in ${directory}`,
  )
}

/** The slot's file is there with its owner's name or not at all, whenever this process is killed. */
async function take(path: string, installation: string): Promise<boolean> {
  await mkdir(claims, { recursive: true, mode: 0o755 })
  const claim = join(claims, `${installation}-${randomBytes(6).toString('hex')}`)
  await writeFile(claim, installation, { mode: 0o600 })
  try {
    await link(claim, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return false
  } finally {
    await rm(claim, { force: true })
  }
}

/** Whether the installation holds the slot. */
export async function holdsSlot(installation: string, { number }: Slot): Promise<boolean> {
  return (await readFile(join(directory, String(number)), 'utf8').catch(() => '')) === installation
}

export async function releaseSlotsOf(installation: string, but: readonly Slot[] = []): Promise<void> {
  const kept = but.map(({ number }) => String(number))
  for (const name of await readdir(directory).catch(() => [])) {
    const path = join(directory, name)
    if (kept.includes(name)) continue
    if ((await readFile(path, 'utf8').catch(() => '')) === installation) await rm(path, { force: true })
  }
  for (const name of await readdir(claims).catch(() => [])) {
    if (name.startsWith(`${installation}-`)) await rm(join(claims, name), { force: true })
  }
}
