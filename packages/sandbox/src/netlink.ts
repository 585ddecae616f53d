import { closeSync } from 'node:fs'
import koffi from 'koffi'

// Numbers of the kernel's uapi: linux/socket.h, netlink.h and genetlink.h.
const family = { netlink: 16 }
const raw = 3
const flags = { nonBlocking: 0o4000, closeOnExec: 0o2000000 }
/** Protocols of a netlink socket. */
export const protocols = { netfilter: 12, generic: 16 } as const
const socketLevel = 1
const receiveBufferForce = 33
const requestWithAck = 1 | 4
const errorMessage = 2
/** Of a message. */
export const headerBytes = 16
const controller = { id: 16, getFamily: 3, familyId: 1, familyName: 2 }
const messageBytes = 65_536

const noBuffers = 105

const libc = koffi.load('libc.so.6')
const socketCall = libc.func('int socket(int domain, int type, int protocol)')
const bindCall = libc.func('int bind(int fd, void *address, uint bytes)')
const setOption = libc.func('int setsockopt(int fd, int level, int name, void *value, uint bytes)')
const sendCall = libc.func('long send(int fd, void *message, size_t bytes, int flags)')
const receiveCall = libc.func('long recv(int fd, void *message, size_t bytes, int flags)')

/** A netlink socket. Never waits: answers are there when a request has been sent. */
export class Netlink {
  private readonly fd: number
  private readonly buffer = Buffer.alloc(messageBytes)

  /** `bytes`: how much of messages the kernel keeps for a reader that is late. */
  constructor(bytes: number, protocol: number = protocols.generic) {
    this.fd = socketCall(family.netlink, raw | flags.nonBlocking | flags.closeOnExec, protocol)
    if (this.fd < 0) throw failed('socket')
    const address = Buffer.alloc(12)
    address.writeUInt16LE(family.netlink, 0)
    if (bindCall(this.fd, address, address.length) !== 0) throw this.closed(failed('bind'))
    const size = Buffer.alloc(4)
    size.writeInt32LE(bytes, 0)
    if (setOption(this.fd, socketLevel, receiveBufferForce, size, 4) !== 0) throw this.closed(failed('setsockopt'))
  }

  familyOf(name: string): number {
    this.send(controller.id, controller.getFamily, controller.familyName, name)
    let id: number | undefined
    // The answer, then its acknowledgement.
    for (let message = this.receive(); Buffer.isBuffer(message); message = this.receive())
      if (message.readUInt16LE(4) === controller.id) id = attributeIn(message, 4, controller.familyId)?.readUInt16LE(0)
    if (id === undefined) throw new Error(`the kernel has no netlink family ${name}`)
    return id
  }

  /** Sends a request with one text, and throws where the kernel refuses it. */
  request(to: number, command: number, attribute: number, text: string): void {
    this.send(to, command, attribute, text)
    this.acknowledged(`request ${command}`)
  }

  /** Sends a message of a type with what follows its header, and throws where the kernel refuses it. */
  tell(type: number, content: Uint8Array): void {
    this.post(type, content)
    this.acknowledged(`message ${type}`)
  }

  private acknowledged(what: string): void {
    for (let message = this.receive(); Buffer.isBuffer(message); message = this.receive()) {
      if (message.readUInt16LE(4) !== errorMessage) continue
      const refused = -message.readInt32LE(headerBytes)
      if (refused !== 0) throw new Error(`netlink ${what}: errno ${refused}`)
      return
    }
  }

  /** The next message, valid until the next call; `none`: there is none; `lost`: the kernel had no room for some. */
  receive(): Buffer | 'none' | 'lost' {
    const bytes = Number(receiveCall(this.fd, this.buffer, messageBytes, 0))
    if (bytes >= headerBytes) return this.buffer.subarray(0, bytes)
    return bytes < 0 && koffi.errno() === noBuffers ? 'lost' : 'none'
  }

  close(): void {
    closeSync(this.fd)
  }

  private send(to: number, command: number, attribute: number, text: string): void {
    this.post(to, Buffer.concat([Buffer.of(command, 1, 0, 0), attributeOf(attribute, Buffer.from(`${text}\0`))]))
  }

  /** A message of a type, with what follows its header. */
  private post(type: number, content: Uint8Array): void {
    const message = Buffer.alloc(headerBytes + content.length)
    message.writeUInt32LE(message.length, 0)
    message.writeUInt16LE(type, 4)
    message.writeUInt16LE(requestWithAck, 6)
    message.set(content, headerBytes)
    if (Number(sendCall(this.fd, message, message.length, 0)) !== message.length) throw failed('send')
  }

  private closed(error: Error): Error {
    this.close()
    return error
  }
}

/** An attribute as messages have it: its length, its number, its value, filled up to a multiple of four. */
export function attributeOf(number: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4 + ((value.length + 3) & ~3))
  bytes.writeUInt16LE(4 + value.length, 0)
  bytes.writeUInt16LE(number, 2)
  bytes.set(value, 4)
  return bytes
}

/** The value of an attribute of a message, behind the `ownBytes` that its kind begins with; undefined where it has none. */
export function attributeIn(message: Buffer, ownBytes: number, number: number): Buffer | undefined {
  for (let at = headerBytes + ownBytes; at + 4 <= message.length;) {
    const length = message.readUInt16LE(at)
    if (length < 4) return undefined
    if (message.readUInt16LE(at + 2) === number) return message.subarray(at + 4, at + length)
    at += (length + 3) & ~3
  }
  return undefined
}

function failed(call: string): Error {
  return new Error(`netlink ${call}: errno ${koffi.errno()}`)
}
