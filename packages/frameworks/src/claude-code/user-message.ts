/** A line of stdin that hands the agent a prompt, a slash command, or text in the middle of a turn. */
export function userMessage(content: string, uuid?: string): string {
  return JSON.stringify({ type: 'user', message: { role: 'user', content }, ...(uuid ? { uuid } : {}) })
}
