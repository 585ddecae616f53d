interface Block {
  type: string
  text?: string
  content?: unknown
}

/** What the server reads of a request for messages. */
export interface MessagesRequest {
  model: string
  stream?: boolean
  system?: string | Block[]
  tools?: { name: string }[]
  messages: { role: string; content: string | Block[] }[]
}

/** One message of a conversation, as a script looks at it. */
export interface Said {
  role: string
  /** Text, without what the agent tells the model on its own. */
  texts: string[]
  /** Results of tool calls. */
  results: string[]
}

export function whatWasSaid({ messages }: MessagesRequest): Said[] {
  return messages.map(({ role, content }) => {
    const blocks = typeof content === 'string' ? [{ type: 'text', text: content }] : content
    return {
      role,
      texts: blocks
        .filter(({ type }) => type === 'text')
        .map(({ text = '' }) => text)
        .filter((text) => text !== '' && !text.startsWith('<system-reminder>')),
      results: blocks
        .filter(({ type }) => type === 'tool_result')
        .map((block) => (typeof block.content === 'string' ? block.content : JSON.stringify(block.content ?? ''))),
    }
  })
}

export function systemText({ system = '' }: MessagesRequest): string {
  return typeof system === 'string' ? system : system.map(({ text = '' }) => text).join('\n')
}

/** About four characters a token. */
export function countTokens(value: unknown): number {
  return Math.ceil(JSON.stringify(value ?? '').length / 4)
}
