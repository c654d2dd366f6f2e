// The core's errors, one by one. A cancelled call is none of ours: nil.

import EvenkeelFFI

extension OpenError {
  init(_ core: EvenkeelFFI.OpenError) {
    self =
      switch core {
      case .Url(let reason): .url(reason: reason)
      case .DeviceId: .deviceId
      case .Setting(let name, let reason): .setting(name: name, reason: reason)
      case .Certificate(let reason): .certificate(reason: reason)
      case .Proxy: .proxy
      case .Network(let reason): .network(reason: reason)
      case .StateCorrupt(let path, let reason): .stateCorrupt(path: path, reason: reason)
      case .StateUnusable(let path, let reason): .stateUnusable(path: path, reason: reason)
      case .WrongAccount: .wrongAccount
      case .NotAStore(let path): .notAStore(path: path)
      case .NewerStore(let found, let known): .newerStore(found: found, known: known)
      case .StoreCorrupt(let reason): .storeCorrupt(reason: reason)
      case .StoreBusy: .storeBusy
      case .StoreFull: .storeFull
      case .StoreUnusable(let path, let reason): .storeUnusable(path: path, reason: reason)
      case .Internal(let reason): .internal(reason: reason)
      }
  }
}

extension ClientError {
  init?(_ core: EvenkeelFFI.ClientError) {
    switch core {
    case .Cancelled: return nil
    case .Closed: self = .closed
    case .Unfinished(let left): self = .unfinished(left: left)
    case .Internal(let reason): self = .internal(reason: reason)
    }
  }
}

extension DataError {
  init?(_ core: EvenkeelFFI.DataError) {
    switch core {
    case .Cancelled: return nil
    case .OutboxFull(let kept): self = .outboxFull(kept: kept)
    case .Id: self = .id
    case .NotFound: self = .notFound
    case .Json(let reason): self = .json(reason: reason)
    case .Full: self = .full
    case .Corrupt(let reason): self = .corrupt(reason: reason)
    case .Closed: self = .closed
    case .Suspended: self = .suspended
    case .Busy: self = .busy
    case .Internal(let reason): self = .internal(reason: reason)
    }
  }
}

extension SyncOnceError {
  init?(_ core: EvenkeelFFI.SyncOnceError) {
    switch core {
    case .Cancelled: return nil
    case .Deadline(let status): self = .deadline(status: status)
    case .Failed(let status): self = .failed(status: status)
    case .Interrupted: self = .interrupted
    case .Closed: self = .closed
    case .Internal(let reason): self = .internal(reason: reason)
    }
  }
}

extension RequestError {
  init?(_ core: EvenkeelFFI.RequestError) {
    switch core {
    case .Cancelled: return nil
    case .Suspended: self = .suspended
    case .Held(let waitMs): self = .held(wait: .milliseconds(waitMs))
    case .Failed(let failure): self = .failed(failure)
    case .Closed: self = .closed
    case .Internal(let reason): self = .internal(reason: reason)
    }
  }
}

extension AiError {
  init?(_ core: EvenkeelFFI.AiError) {
    switch core {
    case .Cancelled: return nil
    case .NotConnected: self = .notConnected
    case .Held(let waitMs, let cause): self = .held(wait: .milliseconds(waitMs), cause: cause)
    case .Failed(let failure, let attempts): self = .failed(failure, attempts: attempts)
    case .Closed: self = .closed
    case .Internal(let reason): self = .internal(reason: reason)
    }
  }
}
