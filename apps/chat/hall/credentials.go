package hall

import "strings"

// nsCertificate shows and changes the certificates with which an account can log in.
func nsCertificate(h *Hall, s *session, params []string, answer func(string)) {
	fingerprint := s.origin.Fingerprint
	if len(params) > 1 {
		fingerprint = strings.ToLower(strings.ReplaceAll(params[1], ":", ""))
	}
	action := strings.ToUpper(param(params, 0))
	switch {
	case s.account() == "":
		answer("You are not logged in")
	case action == "LIST":
		h.listCredentials(s, answer)
	case action != "ADD" && action != "DEL" || action == "DEL" && len(params) < 2:
		answer("Syntax: CERT LIST, CERT ADD [fingerprint], CERT DEL <fingerprint>")
	case !isFingerprint(fingerprint):
		answer("A fingerprint is the SHA-256 of a certificate, 64 digits in hex")
	case action == "ADD":
		h.ask(s, Work{Kind: AddCertificate, Account: s.account(), Fingerprint: fingerprint}, answer, func(*Result) {
			answer("You can log in with that certificate now")
		})
	default:
		h.ask(s, Work{Kind: RemoveCertificate, Account: s.account(), Fingerprint: fingerprint}, answer, func(*Result) {
			answer("You can no longer log in with that certificate")
		})
	}
}

// isFingerprint says whether something is a SHA-256 in hex.
func isFingerprint(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// maxDevice is the longest name of a device, in bytes.
const maxDevice = 64

// nsDevice shows and changes the passwords of devices.
func nsDevice(h *Hall, s *session, params []string, answer func(string)) {
	action, label := strings.ToUpper(param(params, 0)), strings.Join(params[min(1, len(params)):], " ")
	switch {
	case s.account() == "":
		answer("You are not logged in")
	case action == "LIST":
		h.listCredentials(s, answer)
	case action != "ADD" && action != "DEL" || label == "" || len(label) > maxDevice:
		answer("Syntax: DEVICE LIST, DEVICE ADD <name>, DEVICE DEL <name>")
	case action == "ADD":
		h.ask(s, Work{Kind: AddDevice, Account: s.account(), Label: label}, answer, func(r *Result) {
			answer("The password of " + label + ", which is not shown again:")
			answerAll(r.Lines, answer)
		})
	default:
		h.ask(s, Work{Kind: RemoveDevice, Account: s.account(), Label: label}, answer, func(*Result) {
			answer("The password of " + label + " is no longer good")
		})
	}
}

func (h *Hall) listCredentials(s *session, answer func(string)) {
	h.ask(s, Work{Kind: ListCredentials, Account: s.account()}, answer, func(r *Result) {
		answerAll(r.Lines, answer)
		answer("End of the list")
	})
}
