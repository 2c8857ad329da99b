/** What goes over the sockets of this process. */
export interface Traffic {
  socketOpened(): void;
  socketClosed(): void;
  /** Counts events that were handed to subscribers. */
  delivered(events: number): void;
  /** Open sockets now, and events since the start. */
  figures(): { readonly sockets: number; readonly delivered: number };
}

export function createTraffic(): Traffic {
  let sockets = 0;
  let delivered = 0;
  return {
    socketOpened() {
      sockets += 1;
    },
    socketClosed() {
      sockets -= 1;
    },
    delivered(events) {
      delivered += events;
    },
    figures: () => ({ sockets, delivered }),
  };
}
