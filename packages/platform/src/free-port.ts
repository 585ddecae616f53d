import { once } from 'node:events'
import { createServer } from 'node:net'
import { Vm0Error } from '@vm0/contract'

export function portTaken(port: number, host: string): Vm0Error {
  return new Vm0Error('PORT_TAKEN', `port ${port} on ${host} is taken by another program`)
}

/**
 * Fails with PORT_TAKEN where nobody could listen. Asked before anything is taken over: a start that fails later ends the
 * runs that an earlier process has left at work.
 */
export async function requireFreePort(port: number, host: string): Promise<void> {
  const probe = createServer()
  probe.listen(port, host)
  try {
    await once(probe, 'listening')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') throw portTaken(port, host)
    throw error
  }
  probe.close()
  await once(probe, 'close')
}
